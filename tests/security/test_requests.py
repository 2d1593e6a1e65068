"""Requests that want what they should not have."""

import pytest
from django.test import Client
from django.urls import reverse

from labs.models import Run
from quiz.models import Attempt
from tests.builders import make_question, make_run

pytestmark = pytest.mark.django_db

ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example/",
    "https:evil.example",
    "javascript:alert(1)",
    "\thttps://evil.example",
]


@pytest.mark.parametrize("address", ELSEWHERE)
def test_changing_the_language_leads_nowhere_else(as_charlie, address):
    response = as_charlie.post("/language/", {"language": "zh-hans", "next": address})
    assert response.url == "/"


def test_changing_the_language_comes_back(as_charlie):
    response = as_charlie.post("/language/", {"language": "zh-hans", "next": "/claims/?page=2"}, follow=True)
    assert response.redirect_chain == [("/claims/?page=2", 302)]
    assert '<html lang="zh-hans">' in response.content.decode()


@pytest.mark.parametrize("address", ELSEWHERE)
def test_signing_in_leads_nowhere_else(as_charlie, alice, address):
    login = {"username": "alice", "password": "alice-password", "next": address}
    assert as_charlie.post("/login/", login).url == "/"


def test_signing_in_comes_back(as_charlie, alice):
    login = {"username": "alice", "password": "alice-password", "next": "/labs/rank-sweep/"}
    assert as_charlie.post("/login/", login).url == "/labs/rank-sweep/"


def test_a_new_session_begins_with_signing_in(as_charlie, alice):
    as_charlie.get("/language/")
    session = as_charlie.session
    session["planted"] = True
    session.save()
    planted = as_charlie.cookies["sessionid"].value
    as_charlie.post("/login/", {"username": "alice", "password": "alice-password"})
    assert as_charlie.cookies["sessionid"].value != planted


def test_signing_out_by_a_link_is_refused(as_alice):
    assert as_alice.get("/logout/").status_code == 405


def guess(client: Client, **headers: str) -> int:
    login = {"username": "alice", "password": "guess"}
    return client.post("/api/v1/token/", login, content_type="application/json", headers=headers).status_code


def test_passwords_cannot_be_guessed_quickly(as_charlie, alice):
    assert [guess(as_charlie) for _ in range(21)] == [400] * 20 + [429]


def test_a_made_up_address_buys_no_more_guesses(as_charlie, alice):
    codes = [guess(as_charlie, **{"x-forwarded-for": f"10.0.0.{n}"}) for n in range(21)]
    assert codes == [400] * 20 + [429]


def test_being_signed_in_buys_no_more_guesses(as_bob, alice):
    codes = [guess(as_bob) for _ in range(21)]
    assert codes[-1] == 429


@pytest.fixture
def writes(alice) -> list[str]:
    """Every address that a page posts to."""
    run = make_run(alice, status=Run.QUEUED)
    question = make_question()
    attempt = Attempt.objects.create(owner=alice, question=question)
    return [
        reverse("labs-submit", args=["rank-sweep"]),
        reverse("labs-cancel", args=[run.pk]),
        reverse("quiz-reveal", args=[question.slug]),
        reverse("quiz-grade", args=[attempt.pk]),
        reverse("login"),
        reverse("logout"),
        reverse("set_language"),
        reverse("kb-report", args=["question", question.slug]),
        reverse("kb-preview"),
        reverse("admin:quiz_question_change", args=[question.pk]),
        "/api/v1/runs/",
        f"/api/v1/runs/{run.pk}/cancel/",
    ]


def test_every_write_is_guarded_against_other_sites(alice, writes):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    for address in writes:
        assert client.post(address, {}, content_type="application/json").status_code == 403, address
    assert Run.objects.get().status == Run.QUEUED


def test_an_unknown_host_is_refused(as_charlie):
    assert as_charlie.get("/", headers={"host": "evil.example"}).status_code == 400


def test_an_over_large_form_is_refused(as_alice):
    question = make_question()
    response = as_alice.post(f"/questions/{question.slug}/reveal/", {"typed": "x" * (1024 * 1024 + 1)})
    assert response.status_code in (400, 413, 422)
    assert not Attempt.objects.exists()


@pytest.mark.parametrize("path", ["/static/../config/settings.py", "/static/%2e%2e/manage.py", "/static//etc/passwd"])
def test_static_files_stay_in_their_folder(as_charlie, path):
    assert as_charlie.get(path).status_code == 404


HOSTILE = [
    "'",
    '"',
    "' OR 1=1 --",
    "NEAR(",
    "*",
    "^",
    "a AND",
    "title:x",
    "<script>",
    "\x00",
    "%00",
    "秩' OR '",
    "x" * 5000,
    "𝔘💥",
    "\\",
]


@pytest.mark.parametrize("query", HOSTILE)
def test_no_search_breaks_the_page(as_charlie, query):
    for headers in ({}, {"hx-request": "true"}):
        response = as_charlie.get("/search/", {"q": query}, headers=headers)
        assert response.status_code == 200
        assert "<script>" not in response.content.decode().replace("<script src", "")


@pytest.mark.parametrize("query", HOSTILE)
def test_no_filter_breaks_a_page(as_charlie, query):
    for name in ("page", "verdict", "method", "topic"):
        assert as_charlie.get("/claims/", {name: query}).status_code == 200
    assert as_charlie.get("/labs/rank-sweep/", {"preset": query}).status_code == 200


@pytest.mark.parametrize("page", ["/login/", "/admin/login/"])
def test_passwords_cannot_be_guessed_without_end(as_charlie, alice, page):
    wrong = {"username": "alice", "password": "wrong"}
    for _ in range(20):
        assert "Too many tries" not in as_charlie.post(page, wrong).content.decode()
    right = {"username": "alice", "password": "alice-password"}
    response = as_charlie.post(page, right)
    assert "Too many tries" in response.content.decode()
    assert "_auth_user_id" not in as_charlie.session


def test_the_token_endpoint_counts_tries_of_the_login_page(as_charlie, alice):
    for _ in range(20):
        as_charlie.post("/login/", {"username": "alice", "password": "wrong"})
    right = {"username": "alice", "password": "alice-password"}
    assert as_charlie.post("/api/v1/token/", right, content_type="application/json").status_code == 429
