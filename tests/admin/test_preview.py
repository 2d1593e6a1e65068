"""The preview shows what readers will see, to editors only, and nothing that runs."""

import pytest
from django.test import Client

from kb.markup import MAX_SOURCE


def preview(client, text, **values):
    return client.post("/admin/preview/", {"text": text, **values})


def test_it_renders_formulas_chips_and_links(as_staff):
    html = preview(as_staff, r"**Rank** $\alpha$ has [[claim:lora-params]] [@hu2021].").content.decode()
    assert "<strong>Rank</strong>" in html
    assert r'<span class="arithmatex">\(\alpha\)</span>' in html
    assert 'class="chip chip-reproduced"' in html
    assert 'class="citation"' in html


def test_it_speaks_the_language_of_the_field(as_staff):
    assert "秩" in preview(as_staff, "[[point:rank]]", language="zh").content.decode()


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "<iframe src=//evil.example></iframe>",
    "<a href='data:text/html,x'>x</a>",
    "<style>*{display:none}</style>",
    "<svg/onload=alert(1)>",
    "[[claim:<script>]]",
    "`</code><script>x</script>`",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_it_sanitises(as_staff, text):
    response = preview(as_staff, text)
    html = response.content.decode()
    for forbidden in ("<script", "src=", "<iframe", "<style", "<svg", "javascript:", "data:text", "onerror="):
        assert forbidden not in html
    assert "default-src 'self'" in response["Content-Security-Policy"]


def test_it_refuses_what_is_too_long(as_staff):
    response = preview(as_staff, "x" * (MAX_SOURCE + 1))
    assert response.status_code == 413
    assert str(MAX_SOURCE) in response.content.decode()


def test_it_is_for_editors(as_alice, as_charlie):
    for client in (as_alice, as_charlie):
        assert preview(client, "x").url.startswith("/admin/login/")


def test_it_needs_a_token_and_a_post(as_staff, staff):
    assert as_staff.get("/admin/preview/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(staff)
    assert preview(strict, "x").status_code == 403
