"""The parts of a shared run: made for what is missing, claimed once, held for an attempt."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from labs import broker, services
from labs.models import Machine, Run, RunPart
from labs.services.parts import parts_make, places_for
from tests.builders import make_run

pytestmark = pytest.mark.django_db

LEASE = settings.RUN_LEASE_SECONDS
POINTS = [(f"rank={rank},scaling=constant", 0) for rank in (1, 2, 3)]
METRICS = [{"name": "validation_loss", "step": None, "value": 1.5}]


@pytest.fixture(autouse=True)
def bells(monkeypatch) -> list:
    rung = []
    monkeypatch.setattr(broker, "ring", lambda run_id, **_: rung.append(run_id))
    monkeypatch.setattr(broker, "ring_parts", lambda ids, **_: rung.extend(("part", part_id) for part_id in ids))
    return rung


def announce(name: str, *, queues=("cpu",), ago: float = 0.0) -> None:
    seen = timezone.now() - timedelta(seconds=ago)
    Machine.objects.create(
        name=name, host="h", queues=list(queues), cores=2, memory_mb=4096, started_at=seen, last_seen=seen
    )


@pytest.fixture
def run(alice) -> Run:
    announce("a@h")
    announce("b@h")
    return services.run_claim(make_run(alice, status=Run.QUEUED).pk, worker="a@h")


@pytest.fixture
def shared(run) -> Run:
    assert parts_make(run, POINTS)
    return run


@pytest.fixture
def part(shared) -> RunPart:
    return next_part(shared)


def next_part(run: Run, *, memory_mb: int = 4096) -> RunPart | None:
    return services.part_admit_next(run, worker="b@h", memory_mb=memory_mb, gpus=[])


def states(run: Run) -> list[str]:
    return list(run.parts.values_list("status", flat=True))


def reap(model) -> list[int]:
    """What two looks, a patience apart, take back after the leases have ended."""
    model.objects.filter(status="running").update(lease_until=timezone.now() - timedelta(seconds=1))
    seconds = iter([0.0, 0.0, LEASE, LEASE])
    watch = services.LeaseWatch(lambda: next(seconds))
    services.runs_reap(watch)
    return services.runs_reap(watch)


# --- sharing ----------------------------------------------------------------------------------------------------------


def test_only_live_workers_of_the_queue_that_fit_count(run):
    announce("c@h", queues=["gpu"])
    announce("d@h", ago=3 * LEASE)
    assert places_for(run) == 2
    run.needs = {"memory_mb": 8192}
    assert places_for(run) == 0


def test_a_worker_has_a_place_for_each_gpu(run):
    announce("c@h", queues=["gpu"])
    Machine.objects.filter(name="c@h").update(gpus=[{"memory_mb": 8000}] * 3)
    run.queue, run.needs = Run.GPU, {"gpu": True}
    assert places_for(run) == 3


def test_a_worker_without_what_the_run_needs_gets_no_part(shared):
    Run.objects.update(needs={"memory_mb": 8192})
    part_id = shared.parts.first().pk
    assert services.part_admit(part_id, worker="a@h", memory_mb=4096, gpus=[]) is None
    assert services.part_admit(part_id, worker="b@h", memory_mb=9000, gpus=[]).attempt == 1
    shared.refresh_from_db()
    assert next_part(shared) is None
    assert next_part(shared, memory_mb=9000).key == POINTS[1][0]


def test_the_points_that_are_missing_become_parts(run):
    services.run_finish_point(run, key=POINTS[0][0], seed=0, metrics=METRICS)
    run.refresh_from_db()
    assert parts_make(run, POINTS)
    assert list(run.parts.values_list("key", "seed")) == POINTS[1:]


def test_alone_a_worker_shares_with_nobody(run):
    Machine.objects.filter(name="b@h").delete()
    assert not parts_make(run, POINTS)
    assert not run.parts.exists()


def test_one_point_is_not_shared(run):
    assert not parts_make(run, POINTS[:1])


def test_whoever_lost_the_run_shares_nothing(run):
    Run.objects.update(attempt=7)
    assert not parts_make(run, POINTS)


def test_a_run_stays_shared_while_somebody_works_on_a_part(part, shared):
    Machine.objects.all().delete()
    assert parts_make(shared, POINTS)
    services.part_finish_point(part, metrics=METRICS)
    shared.refresh_from_db()
    assert not parts_make(shared, POINTS)
    assert states(shared) == ["succeeded"]


def test_waiting_parts_are_rung_for_as_groups(shared, bells):
    bells.clear()
    services.runs_ring_waiting(["gpu"])
    assert bells == []
    services.runs_ring_waiting(["cpu"])
    assert bells == [("part", part.pk) for part in shared.parts.all()]


# --- claiming ---------------------------------------------------------------------------------------------------------


def test_a_part_is_claimed_once(part, shared):
    assert (part.status, part.attempt, part.worker, part.key) == ("running", 1, "b@h", POINTS[0][0])
    assert services.part_claim(part.pk) is None
    assert next_part(shared).key == POINTS[1][0]


@pytest.mark.parametrize("changes", [{"status": Run.CANCELLED}, {"cancel_requested": True}])
def test_parts_of_a_run_that_ends_are_not_claimed(shared, changes):
    Run.objects.update(**changes)
    assert next_part(shared) is None


# --- working ----------------------------------------------------------------------------------------------------------


def test_a_finished_part_is_a_finished_point_of_the_run(part, shared):
    services.part_record_values(part, [{"point": part.key, "seed": 0, "name": "loss", "step": 0, "value": 3.0}])
    services.part_finish_point(part, metrics=METRICS)
    services.part_finish_point(part, metrics=METRICS)
    shared.refresh_from_db()
    assert shared.finished_points == [[part.key, 0]]
    assert shared.progress_done == 1
    assert [value.value for value in shared.values.all()] == [1.5]
    assert services.part_heartbeat(part) == "lost"


def test_points_go_on_while_their_run_changes_hands(part, shared):
    services.run_release(shared)
    assert services.part_heartbeat(part) is None
    services.part_finish_point(part, metrics=METRICS)
    second = services.run_claim(shared.pk)
    assert second.finished_points == [[part.key, 0]]


@pytest.mark.parametrize("end", ["finish", "cancel"])
def test_the_end_of_the_run_ends_its_parts(part, shared, end):
    if end == "finish":
        services.run_finish(shared, status=Run.TIMED_OUT)
    else:
        services.run_release(shared)
        services.run_cancel(shared)
    assert set(states(shared)) == {"cancelled"}
    assert services.part_heartbeat(part) == "lost"
    services.part_finish_point(part, metrics=METRICS)
    assert not shared.values.exists()


def test_a_request_to_cancel_stops_the_parts(part, shared):
    services.run_cancel(shared)
    assert services.part_heartbeat(part) == "lost"


# --- going wrong ------------------------------------------------------------------------------------------------------


def test_a_part_that_fails_says_why_and_leaves_the_others(part, shared):
    assert services.part_fail(part, reason_code="killed", reason_args={"peak": "1.0"}, traceback="Traceback …")
    shared.refresh_from_db()
    assert (states(shared), shared.traceback) == (["failed", "queued", "queued"], "Traceback …")
    assert not services.part_fail(part, reason_code="disk-full")
    part.refresh_from_db()
    assert part.reason.startswith("The process was killed")


def test_a_stopped_worker_gives_its_part_back(part, bells):
    bells.clear()
    assert services.part_release(part)
    assert bells == [("part", part.pk)]
    assert services.part_claim(part.pk).attempt == 2
    assert not services.part_release(part)


def test_a_silent_worker_loses_its_part(part, bells):
    bells.clear()
    reap(RunPart)
    assert bells == [("part", part.pk)]
    second = services.part_claim(part.pk)
    assert (second.attempt, second.lost_attempts) == (2, 1)
    services.part_finish_point(part, metrics=METRICS)
    assert not part.run.values.exists()


def test_a_part_that_takes_down_its_workers_fails(part):
    for _ in range(settings.RUN_MAX_ATTEMPTS):
        reap(RunPart)
        services.part_claim(part.pk)
    part.refresh_from_db()
    assert (part.status, part.reason_code) == ("failed", "too-many-losses")
