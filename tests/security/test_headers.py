"""What every response carries, and what no page contains: a strict policy works only if nothing needs an exception."""

import re
from html.parser import HTMLParser

import pytest
from django.conf import settings
from django.test import Client

from labs.models import Run
from labs.services import claims_recompute
from quiz.models import Attempt
from tests.builders import (
    add_values,
    make_claim,
    make_follow_up,
    make_measured_claim,
    make_point,
    make_question,
    make_run,
    with_losses,
)

pytestmark = pytest.mark.django_db

POLICY = {
    "default-src 'self'",
    "img-src 'self' data:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
}

PUBLIC = [
    *("/", "/topics/", "/topics/math/", "/points/rank/", "/references/"),
    *("/questions/", "/questions/why/", "/questions/why/answer/"),
    *("/labs/", "/labs/rank-sweep/", "/labs/merge-check/", "/labs/rank-sweep/?preset=standard"),
    *("/claims/", "/claims/measured/", "/claims/sized/", "/runs/{reference}/", "/runs/{reference}/progress/"),
    *("/search/", "/search/?q=rank", "/search/?q=<script>alert(1)</script>", "/search/?q=%22%20onclick=alert(1)%20x"),
    *("/report/point/rank/", "/report/question/why/", "/report/claim/sized/", "/report/claim/nothing/"),
    *("/login/", "/nothing/", "/api/v1/claims/", "/api/v1/schema/", "/healthz"),
]
OWN = ["/runs/", "/runs/{own}/", "/runs/{waiting}/", "/attempts/{attempt}/", "/attempts/{graded}/"]
ADMIN = [
    *("/admin/", "/admin/kb/point/", "/admin/kb/point/{point}/change/", "/admin/kb/point/add/"),
    *("/admin/quiz/question/", "/admin/quiz/question/{question}/change/", "/admin/labs/run/", "/admin/labs/claim/"),
    *("/admin/kb/point/{point}/history/", "/admin/quiz/question/{question}/history/", "/admin/kb/errorreport/"),
    *("/admin/quiz/question/import/", "/admin/kb/topic/", "/admin/quiz/question/add/?parent={question}"),
    *("/admin/labs/run/{reference}/change/", "/admin/auth/user/", "/admin/quiz/attempt/{attempt}/change/"),
]


@pytest.fixture
def site(alice) -> dict[str, int]:
    """Something of everything; the ids that addresses need."""
    point = make_point(slug="rank", definition_en="$r$ | `code` [[claim:sized]] <b onclick=x() style=color:red>b</b>")
    make_claim(slug="sized").points.add(point)
    make_measured_claim(slug="measured")
    question = make_question(slug="why")
    make_follow_up(question)
    question.points.add(point)
    reference = with_losses(make_run(preset="standard"), 0.6, 0.7, 0.8)
    own = with_losses(make_run(alice), 2.0)
    add_values(own, "latency", "dtype=float32", 1.0)
    claims_recompute()
    graded = Attempt.objects.create(owner=alice, question=question, grade=3, score=1.0)
    return {
        "point": point.pk,
        "question": question.pk,
        "reference": reference.pk,
        "own": own.pk,
        "waiting": make_run(alice, status=Run.RUNNING, reason_code="broker-down", progress_total=3).pk,
        "attempt": Attempt.objects.create(owner=alice, question=question, typed="<script>x</script>").pk,
        "graded": graded.pk,
    }


class Page(HTMLParser):
    """What in a page a strict policy would block."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.blocked: list[str] = []
        self.in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.in_script = tag == "script" and values.get("type", "") not in ("application/json",)
        self.blocked += [f"<{tag} {name}>" for name in values if name == "style" or name.startswith("on")]
        self.blocked += [f"<{tag} {v}>" for v in values.values() if re.match(r"\s*(javascript|vbscript):", v, re.I)]
        if tag == "style":
            self.blocked.append("<style>")
        loaded = values.get("src", "") if tag != "a" else ""
        loaded = values.get("href", "") if tag == "link" else loaded
        if re.match(r"(https?:)?//", loaded):
            self.blocked.append(f"<{tag} {loaded}>")

    def handle_data(self, data: str) -> None:
        if self.in_script and data.strip():
            self.blocked.append("<script>…</script>")

    def handle_endtag(self, tag: str) -> None:
        self.in_script = False


def assert_strict(client: Client, address: str) -> None:
    response = client.get(address)
    assert response.status_code in (200, 286, 404), address
    assert set(response["Content-Security-Policy"].split("; ")) == POLICY
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    if response["Content-Type"].startswith("text/html"):
        assert Page(response.content.decode()).blocked == []


@pytest.mark.parametrize("address", PUBLIC)
def test_public_pages_are_strict(as_charlie, site, address):
    assert_strict(as_charlie, address.format(**site))


@pytest.mark.parametrize("address", PUBLIC[:-5] + OWN)
def test_pages_of_the_signed_in_are_strict(as_alice, site, address):
    assert_strict(as_alice, address.format(**site))


@pytest.mark.parametrize("address", ADMIN)
def test_admin_pages_are_strict(as_staff, site, address):
    assert_strict(as_staff, address.format(**site))


def test_the_check_of_pages_sees_what_it_should():
    html = (
        "<script>x</script><script src=//e/x.js></script><style>x</style><p style=x onclick=y>"
        "<a href='javascript:x'>x</a><link href=https://e/x.css>"
    )
    assert len(Page(html).blocked) == 7


def test_learners_and_strangers_do_not_enter_the_admin_site(as_alice, as_charlie):
    for client in (as_alice, as_charlie):
        assert client.get("/admin/").url == "/admin/login/?next=/admin/"


def test_cookies_are_kept_from_scripts_and_other_sites(as_charlie, alice):
    as_charlie.post("/login/", {"username": "alice", "password": "alice-password"})
    session, csrf = as_charlie.cookies["sessionid"], as_charlie.cookies["csrftoken"]
    assert (session["httponly"], session["samesite"], csrf["samesite"]) == (True, "Lax", "Lax")


def test_an_error_page_tells_nothing_about_the_error(as_charlie, monkeypatch):
    def break_down() -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("kb.views.topics_with_counts", break_down)
    as_charlie.raise_request_exception = False
    response = as_charlie.get("/")
    html = response.content.decode()
    assert response.status_code == 500
    assert "Something broke" in html
    assert "hunter2" not in html
    assert Page(html).blocked == []
    assert response["Content-Security-Policy"]


def test_debug_is_off_unless_asked_for():
    assert settings.DEBUG is False
