"""Reading through the API: everything public, filtered and paged."""

from datetime import timedelta

import pytest
from django.utils import timezone

from labs.catalog import all_labs
from labs.models import Run
from labs.services import claims_recompute
from tests.builders import (
    add_values,
    make_claim,
    make_follow_up,
    make_measured_claim,
    make_point,
    make_question,
    make_run,
    make_topic,
    with_losses,
)

pytestmark = pytest.mark.django_db
API = "/api/v1"


def get(client, path: str, status: int = 200) -> dict:
    response = client.get(f"{API}/{path}")
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    return response.json()


def slugs(document: dict) -> list[str]:
    return [item["slug"] for item in document["results"]]


def test_the_root_lists_what_there_is(as_charlie):
    assert set(get(as_charlie, "")) == {
        "topics",
        "points",
        "questions",
        "claims",
        "labs",
        "runs",
        "workers",
        "queues",
    }


def test_topics(as_charlie):
    make_topic("math")
    assert get(as_charlie, "topics/")["results"][0]["title_zh"] == "数学"
    assert get(as_charlie, "topics/math/")["slug"] == "math"


def test_points_with_what_they_need(as_charlie):
    first, second = make_point(), make_point(topic=make_topic("other"))
    second.prerequisites.add(first)
    assert get(as_charlie, f"points/{second.slug}/")["prerequisites"] == [first.slug]
    assert get(as_charlie, f"points/{first.slug}/")["leads_to"] == [second.slug]
    assert slugs(get(as_charlie, "points/?topic__slug=other")) == [second.slug]


def test_a_question_comes_with_its_whole_tree(as_charlie):
    question = make_question(slug="root", difficulty=4)
    # Slugs and positions in an order that only the tree explains.
    z = make_follow_up(question, slug="z", position=0)
    make_follow_up(z, slug="a", position=0)
    make_follow_up(question, slug="m", position=1)
    question.points.add(make_point(slug="rank"))
    question.claims.add(make_claim(slug="params"))
    document = get(as_charlie, "questions/root/")
    assert [(f["slug"], f["follows"]) for f in document["follow_ups"]] == [("z", "root"), ("a", "z"), ("m", "root")]
    assert [p["weight"] for p in document["rubric"]] == [3, 1]
    assert (document["points"], document["claims"]) == (["rank"], ["params"])


def test_questions_are_filtered_and_follow_ups_are_no_questions(as_charlie):
    easy, hard = make_question(difficulty=1), make_question(difficulty=5, topic=make_topic("other"))
    make_follow_up(easy, difficulty=5)
    assert slugs(get(as_charlie, "questions/")) == [easy.slug, hard.slug]
    assert slugs(get(as_charlie, "questions/?difficulty=5")) == [hard.slug]
    assert slugs(get(as_charlie, "questions/?topic__slug=math")) == [easy.slug]


def test_claims_come_with_verdicts_and_findings(as_charlie):
    make_claim(slug="sized")
    make_measured_claim(slug="measured")
    run = add_values(make_run(preset="standard"), "validation_loss", "rank=64,scaling=double", 0.6, 0.7, 0.8)
    claims_recompute()
    document = get(as_charlie, "claims/measured/")
    finding = document["findings"][0]
    assert (document["verdict"], finding["verdict"], finding["n"]) == ("reproduced", "reproduced", 3)
    assert finding["run"] == run.pk
    assert finding["low"] < finding["value"] < finding["high"]
    assert slugs(get(as_charlie, "claims/?method=formula&verdict=reproduced")) == ["sized"]


def test_labs_come_with_the_schema_of_their_parameters(as_charlie):
    documents = {d["slug"]: d for d in as_charlie.get(f"{API}/labs/").json()}
    assert set(documents) == set(all_labs())
    steps = get(as_charlie, "labs/rank-sweep/")["parameters"]["properties"]["steps"]
    assert (steps["type"], steps["minimum"], steps["maximum"]) == ("integer", 1, 2000)
    assert "tiny" in documents["rank-sweep"]["parameters"]["properties"]["model"]["enum"]
    assert documents["rank-sweep"]["presets"]["standard"]["seeds"] == [0, 1, 2]


@pytest.mark.parametrize(
    "path",
    ["topics/x/", "points/x/", "questions/x/", "claims/x/", "labs/x/", "runs/99/", "runs/x/", "nothing/", "a/b/c"],
)
def test_what_is_not_there_is_not_found_in_json(as_charlie, path):
    assert "detail" in get(as_charlie, path, 404)


@pytest.mark.parametrize("path", ["claims/?verdict=maybe", "questions/?difficulty=hard", "runs/?status=lost"])
def test_a_filter_that_means_nothing_is_refused_by_field(as_charlie, path):
    name = path.split("?")[1].split("=")[0]
    assert list(get(as_charlie, path, 400)) == [name]


def test_lists_are_paged(as_charlie):
    for _ in range(3):
        make_claim()
    first = get(as_charlie, "claims/?page_size=2")
    assert (first["count"], len(first["results"])) == (3, 2)
    assert len(as_charlie.get(first["next"]).json()["results"]) == 1
    assert get(as_charlie, "claims/?page=9", 404)["detail"] == "Invalid page."


# --- runs -------------------------------------------------------------------------------------------------------------


def test_runs_are_those_that_one_may_see(as_alice, as_bob, as_charlie, as_staff, alice):
    reference, own = make_run(), make_run(alice)
    seen = {c: [r["id"] for r in get(client, "runs/")["results"]] for c, client in enumerate([as_bob, as_charlie])}
    assert seen == {0: [reference.pk], 1: [reference.pk]}
    for client in (as_alice, as_staff):
        assert [r["id"] for r in get(client, "runs/")["results"]] == [own.pk, reference.pk]


def test_others_cannot_read_a_run(as_alice, as_bob, as_charlie, alice):
    run = with_losses(make_run(alice), 1.0)
    assert get(as_alice, f"runs/{run.pk}/")["lab"] == "rank-sweep"
    for client in (as_bob, as_charlie):
        get(client, f"runs/{run.pk}/", 404)
        get(client, f"runs/{run.pk}/metrics/", 404)


def test_runs_are_filtered(as_alice, alice):
    waiting = make_run(alice, status=Run.QUEUED)
    make_run(alice, lab="merge-check")
    assert [r["id"] for r in get(as_alice, "runs/?status=queued&lab_slug=rank-sweep")["results"]] == [waiting.pk]


def test_a_run_tells_how_far_it_is(as_alice, alice):
    run = make_run(
        alice, status=Run.RUNNING, progress_done=1, progress_total=4, note_code="own", note_args={"en": "rank 8"}
    )
    document = get(as_alice, f"runs/{run.pk}/")
    assert (document["status"], document["percent"], document["progress_note"]) == ("running", 25, "rank 8")


def test_metrics_are_results_and_curves_in_the_order_they_were_logged(as_charlie):
    run = add_values(make_run(), "validation_loss", "rank=8,scaling=double", 1.0, 2.0)
    run.values.create(name="loss", point="rank=8,scaling=double", seed=0, step=3, value=4.0)
    document = get(as_charlie, f"runs/{run.pk}/metrics/")
    assert [(v["name"], v["seed"], v["step"], v["value"]) for v in document["results"]] == [
        ("validation_loss", 0, None, 1.0),
        ("validation_loss", 1, None, 2.0),
        ("loss", 0, 3, 4.0),
    ]
    assert len(get(as_charlie, f"runs/{run.pk}/metrics/?page_size=1")["results"]) == 1


# --- as many queries for much as for little ---------------------------------------------------------------------------


def add_a_lot(user) -> None:
    for _ in range(3):
        point, question, run = make_point(), make_question(), make_run(user)
        point.prerequisites.add(make_point())
        question.points.add(point)
        question.claims.add(make_claim())
        make_follow_up(make_follow_up(question)).claims.add(make_claim())
        run.artifacts.create(name="log", size=1, sha256="a" * 64)


@pytest.mark.parametrize("path", ["topics", "points", "questions", "claims", "runs"])
def test_the_number_of_queries_is_constant(as_alice, alice, django_assert_max_num_queries, path):
    add_a_lot(alice)
    with django_assert_max_num_queries(30) as few:
        get(as_alice, f"{path}/")
    add_a_lot(alice)
    with django_assert_max_num_queries(len(few)):
        get(as_alice, f"{path}/")


def test_a_run_tells_of_its_training(as_alice, alice):
    now = timezone.now()
    training = {"step": 6, "steps": 24, "loss": 2.5, "tokens_per_second": 321.0}
    run = make_run(
        alice,
        status=Run.RUNNING,
        attempt=2,
        training=training,
        progress_done=1,
        progress_total=4,
        progress_since=now - timedelta(seconds=60),
        progress_at=now,
        memory_mb=700,
        peak_memory_mb=900,
    )
    document = get(as_alice, f"runs/{run.pk}/")
    assert (document["attempt"], document["training"], document["cancel_requested"]) == (2, training, False)
    assert (document["memory_mb"], document["peak_memory_mb"]) == (700, 900)
    assert 170 < document["seconds_left"] <= 180


def test_what_a_run_does_not_know_is_null(as_charlie):
    document = get(as_charlie, f"runs/{make_run().pk}/")
    assert (document["training"], document["seconds_left"], document["memory_mb"]) == (None, None, None)
