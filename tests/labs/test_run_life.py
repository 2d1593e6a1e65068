"""A run's life: asked for once, claimed once, finished once; the row is the truth."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from labs import broker, services
from labs.models import Artifact, MetricValue, Run
from labs.services import LEASE, MAX_LIVE_RUNS, TooManyRuns, run_request
from tests.builders import make_run

pytestmark = pytest.mark.django_db

REQUEST = run_request(lab_slug="rank-sweep", preset="quick")
LONG_AGO = timedelta(seconds=LEASE.total_seconds() + 1)


@pytest.fixture
def queued(alice, bells) -> Run:
    return services.run_submit(user=alice, request=REQUEST)


@pytest.fixture
def running(queued) -> Run:
    run = services.run_claim(queued.pk)
    assert run is not None
    return run


def fall_silent(run: Run) -> None:
    """As if the run's worker had died."""
    Run.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now() - LONG_AGO)


# --- asking -----------------------------------------------------------------------------------------------------------


def test_a_submitted_run_waits_and_the_bell_rings(alice, bells):
    run = services.run_submit(user=alice, request=REQUEST)
    run.refresh_from_db()
    assert (run.owner, run.status, run.origin, run.preset) == (alice, Run.QUEUED, Run.SITE, "quick")
    assert (run.params, run.seeds, run.question_key) == (REQUEST.params, [0], REQUEST.key)
    assert bells == [run.pk]


def test_one_user_cannot_fill_the_queue(alice, bob, bells):
    for _ in range(MAX_LIVE_RUNS):
        services.run_submit(user=alice, request=REQUEST)
    with pytest.raises(TooManyRuns, match="5 of your runs are waiting or running; allowed: 5"):
        services.run_submit(user=alice, request=REQUEST)
    assert Run.objects.count() == len(bells) == MAX_LIVE_RUNS
    services.run_submit(user=bob, request=REQUEST)


def test_an_ended_run_makes_room(alice, bells):
    runs = [services.run_submit(user=alice, request=REQUEST) for _ in range(MAX_LIVE_RUNS)]
    services.run_cancel(runs[0])
    services.run_submit(user=alice, request=REQUEST)


def test_a_broker_that_is_down_does_not_lose_the_run(alice, monkeypatch):
    def refuse(run_id, **_):
        raise broker.BrokerDown("connection refused")

    monkeypatch.setattr(broker, "ring", refuse)
    run = services.run_submit(user=alice, request=REQUEST)
    assert (run.status, run.reason) == (Run.QUEUED, "Waiting for the queue: the broker does not answer.")


def test_a_dead_socket_is_a_broker_that_is_down(alice, tmp_path, monkeypatch):
    monkeypatch.setattr(broker, "app", broker.Celery("dead", broker=f"redis+socket://{tmp_path}/no.sock"))
    with pytest.raises(broker.BrokerDown):
        broker.ring(1)
    run = services.run_submit(user=alice, request=REQUEST)
    assert run.reason.startswith("Waiting for the queue")


def test_every_live_run_is_rung_for_again(alice, bells):
    waiting, running, ended = (make_run(alice, status=Run.QUEUED) for _ in range(3))
    services.run_claim(running.pk)
    services.run_cancel(ended)
    assert services.runs_ring_waiting() == bells == [waiting.pk, running.pk]


# --- twins ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "is_twin"),
    [
        (Run.QUEUED, True),
        (Run.RUNNING, True),
        (Run.SUCCEEDED, True),
        (Run.FAILED, False),
        (Run.CANCELLED, False),
        (Run.TIMED_OUT, False),
    ],
)
def test_a_twin_has_succeeded_or_may_still(alice, status, is_twin):
    run = make_run(alice, status=status)
    assert services.run_twin(user=alice, request=REQUEST) == (run if is_twin else None)


def test_the_newest_twin_is_offered_and_only_to_its_owner(alice, bob):
    make_run(alice)
    newest = make_run(alice)
    assert services.run_twin(user=alice, request=REQUEST) == newest
    assert services.run_twin(user=bob, request=REQUEST) is None
    assert services.run_twin(user=alice, request=run_request(lab_slug="merge-check")) is None


# --- claiming ---------------------------------------------------------------------------------------------------------


def test_a_run_is_claimed_once(queued):
    claimed = services.run_claim(queued.pk)
    assert claimed is not None
    assert (claimed.status, claimed.attempt) == (Run.RUNNING, 1)
    assert services.run_claim(queued.pk) is None


def test_claiming_clears_the_reason_for_waiting(queued):
    Run.objects.update(reason="Waiting for the queue")
    assert services.run_claim(queued.pk).reason == ""


@pytest.mark.parametrize("status", [Run.SUCCEEDED, Run.FAILED, Run.CANCELLED, Run.TIMED_OUT])
def test_an_ended_run_is_not_claimed(queued, status):
    Run.objects.update(status=status)
    assert services.run_claim(queued.pk) is None


def test_a_run_that_does_not_exist_is_not_claimed(db):
    assert services.run_claim(12345) is None


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_wins(alice, bells):
    run = services.run_submit(user=alice, request=REQUEST)
    start, won = threading.Barrier(8), []

    def work() -> None:
        start.wait()
        try:
            won.append(services.run_claim(run.pk))
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(won) == 8
    assert [r.pk for r in won if r] == [run.pk]
    run.refresh_from_db()
    assert run.attempt == 1


def test_a_silent_worker_loses_its_run(running):
    assert services.run_claim(running.pk) is None
    fall_silent(running)
    second = services.run_claim(running.pk)
    assert second.attempt == 2
    assert not services.run_heartbeat(running)
    assert services.run_heartbeat(second)


def test_the_lease_says_how_long_to_wait(running, queued):
    assert 0 < services.run_lease_ends_in(running.pk) <= LEASE.total_seconds()
    fall_silent(running)
    assert services.run_lease_ends_in(running.pk) == 0
    Run.objects.update(status=Run.SUCCEEDED)
    assert services.run_lease_ends_in(running.pk) is None


# --- working ----------------------------------------------------------------------------------------------------------


def test_progress_is_shown_and_renews_the_lease(running):
    fall_silent(running)
    services.run_progress(running, done=3, total=12, note="rank 8 " * 100)
    running.refresh_from_db()
    assert running.percent == 25
    assert len(running.progress_note) == 200
    assert services.run_claim(running.pk) is None


def test_the_percentage_is_full_only_at_the_end(running):
    services.run_progress(running, done=12, total=12, note="")
    running.refresh_from_db()
    assert running.percent == 99
    services.run_finish(running, status=Run.SUCCEEDED)
    running.refresh_from_db()
    assert running.percent == 100


POINT = {
    "key": "rank=8,scaling=double",
    "seed": 0,
    "metrics": [{"name": "validation_loss", "step": None, "value": 1.5}],
}


def test_a_point_delivered_twice_is_stored_once(running):
    services.run_finish_point(running, **POINT)
    services.run_finish_point(running, **POINT)
    running.refresh_from_db()
    assert running.finished_points == [["rank=8,scaling=double", 0]]
    assert [(v.name, v.point, v.seed, v.value) for v in running.values.all()] == [
        ("validation_loss", "rank=8,scaling=double", 0, 1.5)
    ]


def test_a_finished_point_replaces_what_an_earlier_attempt_left(running):
    services.run_record_values(running, [{"name": "loss", "point": POINT["key"], "seed": 0, "step": 7, "value": 9.0}])
    services.run_finish_point(running, **POINT)
    assert [v.name for v in running.values.all()] == ["validation_loss"]


def test_points_of_other_seeds_stay(running):
    for seed in (0, 1):
        services.run_finish_point(running, **POINT | {"seed": seed})
    assert sorted(v.seed for v in running.values.all()) == [0, 1]


def test_a_curve_value_delivered_twice_is_stored_once(running):
    value = {"name": "loss", "point": "", "seed": 0, "step": 1, "value": 2.0}
    for _ in range(2):
        services.run_record_values(running, [value])
    assert MetricValue.objects.count() == 1


def test_an_artifact_delivered_twice_is_kept_once(running):
    for size in (1, 2):
        services.run_keep_artifact(running, name="adapter.safetensors", size=size, sha256="a" * 64)
    assert [(a.name, a.size) for a in Artifact.objects.all()] == [("adapter.safetensors", 2)]


def test_a_worker_that_was_replaced_writes_nothing_any_more(running):
    fall_silent(running)
    services.run_claim(running.pk)
    services.run_progress(running, done=9, total=9, note="late")
    services.run_environment(running, {"late": True})
    services.run_finish_point(running, **POINT)
    assert not services.run_finish(running, status=Run.FAILED, reason="late")
    run = Run.objects.get()
    assert (run.status, run.progress_note, run.environment, run.reason) == (Run.RUNNING, "", {}, "")
    assert not run.values.exists()


# --- ending -----------------------------------------------------------------------------------------------------------


def test_a_run_ends_once(running):
    assert services.run_finish(running, status=Run.SUCCEEDED, durations={"total": 3.5})
    assert not services.run_finish(running, status=Run.FAILED, reason="too late")
    running.refresh_from_db()
    assert (running.status, running.reason, running.durations) == (Run.SUCCEEDED, "", {"total": 3.5})
    assert running.finished_at is not None


def test_a_waiting_run_is_cancelled_at_once(queued):
    assert services.run_cancel(queued)
    queued.refresh_from_db()
    assert (queued.status, queued.reason) == (Run.CANCELLED, "Cancelled before it started.")
    assert queued.finished_at is not None
    assert services.run_claim(queued.pk) is None


def test_a_running_run_is_asked_to_stop(running):
    assert services.run_cancel(running)
    running.refresh_from_db()
    assert (running.status, running.cancel_requested) == (Run.RUNNING, True)
    assert not services.run_heartbeat(running)
    assert services.run_finish(running, status=Run.CANCELLED)


def test_an_ended_run_cannot_be_cancelled(running):
    services.run_finish(running, status=Run.SUCCEEDED)
    assert not services.run_cancel(running)
    running.refresh_from_db()
    assert (running.status, running.cancel_requested) == (Run.SUCCEEDED, False)
