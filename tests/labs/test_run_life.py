"""A run's life: asked for once, claimed once, finished once; the row is the truth."""

import threading
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone, translation

from labs import broker, services
from labs.models import Artifact, MetricValue, Run, RunPart
from labs.services import LeaseWatch, run_request
from tests.builders import make_run

pytestmark = pytest.mark.django_db

REQUEST = run_request(lab_slug="rank-sweep", preset="quick")
LEASE = settings.RUN_LEASE_SECONDS


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
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


class Clock:
    """A clock that moves when it is told to."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock) -> LeaseWatch:
    return LeaseWatch(clock)


def reap(watch: LeaseWatch, clock: Clock) -> list[int]:
    """What two looks, a patience apart, take back."""
    services.runs_reap(watch)
    clock.seconds += LEASE / 2
    return services.runs_reap(watch)


# --- asking -----------------------------------------------------------------------------------------------------------


def test_a_submitted_run_waits_and_the_bell_rings(alice, bells):
    run = services.run_submit(user=alice, request=REQUEST)
    run.refresh_from_db()
    assert (run.owner, run.status, run.origin, run.preset) == (alice, Run.QUEUED, Run.SITE, "quick")
    assert (run.params, run.seeds, run.question_key) == (REQUEST.params, [0], REQUEST.key)
    assert bells == [run.pk]


def test_a_broker_that_is_down_does_not_lose_the_run(alice, monkeypatch):
    def refuse(run_id, **_):
        raise broker.BrokerDown("connection refused")

    monkeypatch.setattr(broker, "ring", refuse)
    run = services.run_submit(user=alice, request=REQUEST)
    assert (run.status, run.reason_code) == (Run.QUEUED, "broker-down")


def test_a_dead_socket_is_a_broker_that_is_down(alice, tmp_path, monkeypatch):
    monkeypatch.setattr(broker, "app", broker.Celery("dead", broker=f"redis+socket://{tmp_path}/no.sock"))
    with pytest.raises(broker.BrokerDown):
        broker.ring(1)
    run = services.run_submit(user=alice, request=REQUEST)
    assert run.reason.startswith("Waiting for the queue")


def test_every_waiting_run_is_rung_for_again(alice, bells):
    waiting, running, ended = (make_run(alice, status=Run.QUEUED) for _ in range(3))
    services.run_claim(running.pk)
    services.run_cancel(ended)
    assert services.runs_ring_waiting() == bells == [waiting.pk]
    assert services.runs_ring_waiting(["gpu"]) == []


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
    claimed = services.run_claim(queued.pk, worker="celery@here")
    assert claimed is not None
    assert (claimed.status, claimed.attempt, claimed.worker) == (Run.RUNNING, 1, "celery@here")
    assert services.run_claim(queued.pk) is None


def test_claiming_clears_the_reason_for_waiting(queued):
    Run.objects.update(reason_code="broker-down")
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


# --- leases -----------------------------------------------------------------------------------------------------------


def test_a_silent_worker_loses_its_run(running, watch, clock, bells):
    assert reap(watch, clock) == []
    fall_silent(running)
    bells.clear()
    assert reap(watch, clock) == bells == [running.pk]
    second = services.run_claim(running.pk)
    assert (second.attempt, second.lost_attempts) == (2, 1)
    assert services.run_heartbeat(running) == "lost"
    assert services.run_heartbeat(second) is None


def test_one_look_at_an_ended_lease_is_not_enough(running, watch):
    fall_silent(running)
    assert services.runs_reap(watch) == services.runs_reap(watch) == []


def test_a_worker_that_speaks_between_two_looks_keeps_its_run(running, watch, clock):
    """The clock jumped, or the machine slept: the lease was over, but the worker is there."""
    fall_silent(running)
    services.runs_reap(watch)
    assert services.run_heartbeat(running) is None
    clock.seconds += LEASE
    assert services.runs_reap(watch) == []


def test_a_lease_from_before_the_clock_was_set_back_ends_too(running, watch, clock):
    Run.objects.update(lease_until=timezone.now() + timedelta(days=1))
    assert reap(watch, clock) == [running.pk]


def test_a_database_that_kept_everybody_waiting_ends_no_lease(running, clock):
    fall_silent(running)
    watch = LeaseWatch(lambda: clock.seconds)
    services.runs_reap(watch)
    clock.seconds += LEASE

    slow = iter([clock.seconds, clock.seconds + LEASE])  # before and after the look
    watch._clock = lambda: next(slow)
    assert services.runs_reap(watch) == []


def test_a_run_that_takes_down_its_workers_fails(running, watch, clock):
    for attempt in range(1, settings.RUN_MAX_ATTEMPTS + 1):
        fall_silent(running)
        reap(watch, clock)
        running.refresh_from_db()
        is_last = attempt == settings.RUN_MAX_ATTEMPTS
        assert running.status == (Run.FAILED if is_last else Run.QUEUED)
        services.run_claim(running.pk)
    assert "3 workers in a row fell silent" in running.reason
    assert running.finished_at is not None


def test_a_finished_point_makes_up_for_lost_workers(running, watch, clock):
    fall_silent(running)
    reap(watch, clock)
    second = services.run_claim(running.pk)
    services.run_finish_point(second, **POINT)
    second.refresh_from_db()
    assert second.lost_attempts == 0


def test_a_run_to_be_cancelled_is_cancelled_when_its_worker_is_lost(running, watch, clock):
    services.run_cancel(running)
    fall_silent(running)
    assert reap(watch, clock) == [running.pk]
    running.refresh_from_db()
    assert (running.status, running.reason_code) == (Run.CANCELLED, "cancelled")


def test_a_reaped_run_waits_for_its_bell_when_the_broker_is_down(running, watch, clock, monkeypatch):
    def refuse(run_id, **_):
        raise broker.BrokerDown("connection refused")

    monkeypatch.setattr(broker, "ring", refuse)
    fall_silent(running)
    assert reap(watch, clock) == [running.pk]


def test_a_stopped_worker_gives_its_run_back(running, bells):
    bells.clear()
    assert services.run_release(running)
    assert bells == [running.pk]
    running.refresh_from_db()
    assert (running.status, running.reason_code, running.lost_attempts) == (Run.QUEUED, "worker-stopped", 0)
    assert not services.run_release(running)
    assert services.run_claim(running.pk).attempt == 2


def test_states_change_as_the_table_says():
    for work in (Run, RunPart):
        assert set(work.TRANSITIONS) == {status for status, _ in work.STATUSES}
        assert [status for status, after in work.TRANSITIONS.items() if after] == list(work.LIVE)


# --- working ----------------------------------------------------------------------------------------------------------


def test_progress_is_shown_in_the_readers_language(running):
    note = {"en": "training", "zh": "训练中"}
    services.run_progress(running, done=3, total=12, note_code="own", note_args=note)
    running.refresh_from_db()
    assert (running.percent, running.progress_note) == (25, "training")
    with translation.override("zh-hans"):
        assert running.progress_note == "训练中"


def test_a_heartbeat_brings_what_is_known(running):
    assert services.run_heartbeat(running, log_tail="step 3", peak_memory_mb=700) is None
    running.refresh_from_db()
    assert (running.log_tail, running.peak_memory_mb) == ("step 3", 700)


def test_the_percentage_is_full_only_at_the_end(running):
    services.run_progress(running, done=12, total=12)
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
        services.run_keep_artifact(running, name="adapter.safetensors", size=size, sha256="a" * 64, keep=list)
    assert [(a.name, a.size) for a in Artifact.objects.all()] == [("adapter.safetensors", 2)]


def test_a_worker_that_was_replaced_writes_nothing_any_more(running, watch, clock):
    fall_silent(running)
    reap(watch, clock)
    services.run_claim(running.pk)
    moved = []
    services.run_progress(running, done=9, total=9, note_code="late")
    services.run_environment(running, {"late": True})
    services.run_finish_point(running, **POINT)
    services.run_record_values(running, [{"name": "loss", "point": "", "seed": 0, "step": 7, "value": 9.0}])
    services.run_keep_artifact(running, name="a.csv", size=1, sha256="a" * 64, keep=lambda: moved.append(1))
    assert not services.run_release(running)
    assert not services.run_finish(running, status=Run.FAILED, reason_code="killed")
    run = Run.objects.get()
    assert (run.status, run.progress_note, run.environment, run.reason) == (Run.RUNNING, "", {}, "")
    assert not run.values.exists()
    assert not Artifact.objects.exists()
    assert moved == []


# --- ending -----------------------------------------------------------------------------------------------------------


def test_a_run_ends_once(running):
    assert services.run_finish(running, status=Run.SUCCEEDED, durations={"total": 3.5})
    assert not services.run_finish(running, status=Run.FAILED, reason_code="killed")
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
    assert services.run_heartbeat(running) == "cancelled"
    assert services.run_finish(running, status=Run.CANCELLED)


def test_an_ended_run_cannot_be_cancelled(running):
    services.run_finish(running, status=Run.SUCCEEDED)
    assert not services.run_cancel(running)
    running.refresh_from_db()
    assert (running.status, running.cancel_requested) == (Run.SUCCEEDED, False)
