"""How long a run may still take."""

from datetime import timedelta

import pytest
from django.utils import timezone

from labs.models import Run
from labs.progress import seconds_left
from labs.services import run_claim, run_heartbeat, run_progress
from tests.builders import make_run

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def ago(seconds: float):
    return NOW - timedelta(seconds=seconds)


def running(alice, **values) -> Run:
    """Two of ten points and a half in 50 seconds: 20 seconds a point."""
    pace = {"progress_done": 2, "progress_within": 0.5, "progress_total": 10}
    return make_run(alice, **{"status": Run.RUNNING, "progress_since": ago(50), "progress_at": NOW, **pace, **values})


def test_it_follows_from_the_pace(alice):
    assert seconds_left(running(alice), NOW) == pytest.approx(150)


def test_what_passed_since_the_last_news_is_taken_off(alice):
    run = running(alice, progress_since=ago(60), progress_at=ago(10))
    assert seconds_left(run, NOW) == pytest.approx(140)


def test_what_an_earlier_attempt_did_says_nothing_about_the_pace(alice):
    run = running(alice, progress_done=6, progress_from=4)
    assert seconds_left(run, NOW) == pytest.approx(70)


@pytest.mark.parametrize(
    "values",
    [
        {"status": Run.QUEUED},
        {"status": Run.SUCCEEDED},
        {"cancel_requested": True},
        {"progress_since": None},
        {"progress_since": ago(2)},
        {"progress_done": 0, "progress_within": 0},
        {"progress_done": 0, "progress_within": 0.1},
        {"progress_since": ago(550), "progress_at": ago(500)},
        {"progress_done": 10, "progress_within": 0},
    ],
)
def test_it_is_not_told_when_it_cannot_be(alice, values):
    assert seconds_left(running(alice, **values), NOW) is None


def test_percent_counts_what_is_under_way(alice):
    assert running(alice).percent == 25


@pytest.fixture
def claimed(alice) -> Run:
    run = make_run(alice, status=Run.QUEUED, progress_within=0.5, training={"step": 3, "steps": 4})
    return run_claim(run.pk)


def step(run: Run, done: int) -> Run:
    run_heartbeat(run, training={"step": done, "steps": 10, "loss": 1.0, "tokens_per_second": 9.0})
    run.refresh_from_db()
    return run


def test_another_attempt_forgets_what_the_last_one_said(claimed):
    assert (claimed.training, claimed.progress_within, claimed.progress_since) == ({}, 0, None)


def test_a_second_training_for_the_same_point_does_not_go_back(claimed):
    run_progress(claimed, done=1, total=4)
    first = step(claimed, 6).progress_at
    assert claimed.progress_within == 0.6
    again = step(claimed, 2)
    assert (again.progress_within, again.progress_at, again.training["step"]) == (0.6, first, 2)


def test_the_pace_counts_from_where_computing_began(claimed):
    run_progress(claimed, done=3, total=10)
    claimed.refresh_from_db()
    since = claimed.progress_since
    step(claimed, 5)
    run_progress(claimed, done=4, total=10, is_start=False)
    claimed.refresh_from_db()
    assert (claimed.progress_from, claimed.progress_since, claimed.progress_within) == (3, since, 0)
    assert claimed.progress_at > since
