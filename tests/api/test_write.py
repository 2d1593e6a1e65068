"""Submitting and cancelling through the API: the same services, the same limits, errors by field."""

import pytest
from django.test import Client
from rest_framework.authtoken.models import Token

from labs import broker
from labs.models import Run
from tests.builders import make_run

pytestmark = pytest.mark.django_db
RUNS = "/api/v1/runs/"


@pytest.fixture
def bells(monkeypatch) -> list[int]:
    rung: list[int] = []
    monkeypatch.setattr(broker, "ring", lambda run_id, **_: rung.append(run_id))
    return rung


def post(client, path: str, document: object = None, **extra) -> object:
    return client.post(path, {} if document is None else document, content_type="application/json", **extra)


# --- signing in -------------------------------------------------------------------------------------------------------


def test_a_password_buys_a_token_and_a_token_signs_in(as_charlie, alice, bells):
    response = post(as_charlie, "/api/v1/token/", {"username": "alice", "password": "alice-password"})
    token = response.json()["token"]
    assert token == Token.objects.get(user=alice).key
    submitted = post(Client(), RUNS, {"lab": "rank-sweep"}, headers={"authorization": f"Token {token}"})
    assert submitted.status_code == 201
    assert Run.objects.get().owner == alice


def test_a_wrong_password_buys_nothing(as_charlie, alice):
    response = post(as_charlie, "/api/v1/token/", {"username": "alice", "password": "guess"})
    assert response.status_code == 400
    assert not Token.objects.exists()


def test_a_wrong_token_is_refused(alice, bells):
    response = post(Client(), RUNS, {"lab": "rank-sweep"}, headers={"authorization": "Token guess"})
    assert response.status_code in (401, 403)


@pytest.mark.parametrize("path", [RUNS, "/api/v1/runs/1/cancel/"])
def test_whoever_is_not_signed_in_writes_nothing(as_charlie, path):
    assert post(as_charlie, path, {"lab": "rank-sweep"}).status_code in (401, 403)
    assert not Run.objects.exists()


def test_a_session_needs_the_csrf_token(alice, bells):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert post(client, RUNS, {"lab": "rank-sweep"}).status_code == 403
    client.get("/labs/rank-sweep/")
    token = client.cookies["csrftoken"].value
    assert post(client, RUNS, {"lab": "rank-sweep"}, headers={"x-csrftoken": token}).status_code == 201


# --- submitting -------------------------------------------------------------------------------------------------------


def test_a_submitted_run_is_queued(as_alice, alice, bells):
    response = post(as_alice, RUNS, {"lab": "rank-sweep", "preset": "quick"})
    document = response.json()
    assert response.status_code == 201
    assert (document["lab"], document["preset"], document["status"], document["seeds"]) == (
        "rank-sweep",
        "quick",
        "queued",
        [0],
    )
    assert bells == [document["id"]]
    assert Run.objects.get(pk=document["id"]).owner == alice


def test_parameters_and_seeds_may_be_given(as_alice, bells):
    wish = {"lab": "rank-sweep", "params": {"ranks": [4], "model": "tiny"}, "seeds": [7, 8]}
    document = post(as_alice, RUNS, wish).json()
    assert (document["params"]["ranks"], document["params"]["model"], document["seeds"]) == ([4], "tiny", [7, 8])


def test_a_twin_is_given_back_and_again_runs_all_the_same(as_alice, as_bob, bells):
    first = post(as_alice, RUNS, {"lab": "rank-sweep"})
    twin = post(as_alice, RUNS, {"lab": "rank-sweep"})
    again = post(as_alice, RUNS, {"lab": "rank-sweep", "again": True})
    other = post(as_bob, RUNS, {"lab": "rank-sweep"})
    assert [r.status_code for r in (first, twin, again, other)] == [201, 200, 201, 201]
    assert first.json()["id"] == twin.json()["id"] != again.json()["id"]


def test_too_many_runs_are_refused(as_alice, bells):
    for seed in range(5):
        post(as_alice, RUNS, {"lab": "rank-sweep", "seeds": [seed]})
    response = post(as_alice, RUNS, {"lab": "rank-sweep", "seeds": [5]})
    assert response.status_code == 429
    document = response.json()
    assert document.pop("error").startswith("Your waiting runs: 5, the limit: 5. There is room again")
    assert document == {
        "limit": "waiting",
        "allowed": 5,
        "frees_at": None,
    }


@pytest.mark.parametrize(
    ("wish", "field", "message"),
    [
        ({"lab": "no-such"}, "lab", "Unknown lab 'no-such'; allowed: "),
        ({"lab": "rank-sweep", "preset": "huge"}, "preset", 'preset = "huge": allowed: quick, standard, gpu'),
        ({"lab": "rank-sweep", "params": {"colour": 1}}, "colour", "colour = 1: unknown parameter; allowed: model, "),
        ({"lab": "rank-sweep", "params": {"steps": "x"}}, "steps", 'steps = "x": Input should be a valid integer'),
        ({"lab": "rank-sweep", "params": {"steps": 0}}, "steps", "allowed: integer from 1 to 2000"),
        ({"lab": "rank-sweep", "params": {"model": "gpt"}}, "model", "allowed: smollm2-135m, minilm-l6, tiny"),
        ({"lab": "rank-sweep", "seeds": [1, 1]}, "seeds", "seeds = [1, 1]: allowed: 1 to 10 different whole numbers"),
        ({"lab": "rank-sweep", "seeds": []}, "seeds", "allowed: 1 to 10 different whole numbers"),
    ],
)
def test_a_wrong_wish_is_refused_by_field(as_alice, wish, field, message):
    response = post(as_alice, RUNS, wish)
    document = response.json()
    assert response.status_code == 400
    assert list(document["fields"]) == [field]
    assert message in document["fields"][field][0]
    assert message in document["error"]
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({}, "lab"),
        ({"lab": ["rank-sweep"]}, "lab"),
        ({"lab": "rank-sweep", "params": [1]}, "params"),
        ({"lab": "rank-sweep", "seeds": "all"}, "seeds"),
        ({"lab": "rank-sweep", "seeds": [0.5]}, "seeds"),
        ({"lab": "rank-sweep", "again": "perhaps"}, "again"),
    ],
)
def test_a_wish_of_the_wrong_shape_is_refused_by_field(as_alice, wish, field):
    response = post(as_alice, RUNS, wish)
    assert response.status_code == 400
    assert list(response.json()) == [field]


@pytest.mark.parametrize("body", ["{", "[]", "NaN", '{"lab": NaN}', "\x00", ""])
def test_what_is_no_json_object_is_refused(as_alice, body):
    response = as_alice.post(RUNS, body, content_type="application/json")
    assert response.status_code == 400
    assert response["Content-Type"] == "application/json"


def test_forms_are_not_accepted(as_alice):
    assert as_alice.post(RUNS, {"lab": "rank-sweep"}).status_code == 415


# --- cancelling -------------------------------------------------------------------------------------------------------


def test_the_owner_cancels(as_alice, alice):
    run = make_run(alice, status=Run.QUEUED)
    response = post(as_alice, f"{RUNS}{run.pk}/cancel/")
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")


def test_an_ended_run_stays_as_it_is(as_alice, alice):
    run = make_run(alice)
    assert post(as_alice, f"{RUNS}{run.pk}/cancel/").json()["status"] == "succeeded"


def test_others_cannot_cancel(as_bob, alice):
    run = make_run(alice, status=Run.QUEUED)
    assert post(as_bob, f"{RUNS}{run.pk}/cancel/").status_code == 404
    assert post(as_bob, f"{RUNS}{make_run().pk}/cancel/").status_code == 404
    run.refresh_from_db()
    assert run.status == Run.QUEUED


@pytest.mark.parametrize("pk", ["x", "1.5", "-1", "9" * 40])
def test_an_impossible_id_is_not_found(as_alice, pk):
    assert post(as_alice, f"{RUNS}{pk}/cancel/").status_code == 404
    assert as_alice.get(f"{RUNS}{pk}/").status_code == 404
