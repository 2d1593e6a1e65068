"""The parts of a run whose points are shared out: made, claimed one at a time, ended.

A part is held for an attempt as a run is. Its writes ask only whether it is held itself, so that whoever computes a
point goes on while the run changes hands; the end of the run ends its parts.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from labs import broker
from labs.models import Machine, Run, RunPart
from labs.needs import lack
from labs.services.machines import is_live
from labs.services.work import claim, held, lapsed, lease, lose, move, store_point, store_values

logger = logging.getLogger(__name__)

# Of live runs only. As a subquery: with a join Django would put the other conditions into a subquery too, where
# PostgreSQL does not look at them again after it waited for a row.
OF_LIVE_RUNS = Exists(Run.objects.filter(pk=OuterRef("run_id"), status__in=Run.LIVE, cancel_requested=False))


# --- sharing ----------------------------------------------------------------------------------------------------------


def places_for(run: Run) -> int:
    """How many such runs could go side by side on the live workers: one a worker, or one a GPU."""
    listening = [m for m in Machine.objects.filter(is_live()) if run.queue in m.queues]
    fitting = [m for m in listening if not lack(run.needs, memory_mb=m.memory_mb, gpus=m.gpus)]
    return sum(max(1, len(m.gpus)) if run.queue == Run.GPU else 1 for m in fitting)


@transaction.atomic
def parts_make(run: Run, points: Sequence[tuple[str, int]]) -> bool:
    """Share out the points that are not finished, unless there is nobody or nothing to share with.

    While somebody still works on a point of an earlier attempt, the run stays shared.
    """
    if not held(run).select_for_update().exists():
        return False
    left = [point for point in points if list(point) not in run.finished_points]
    is_worth_it = len(left) > 1 and places_for(run) > 1
    if not is_worth_it and not run.parts.filter(status=RunPart.RUNNING).exists():
        run.parts.exclude(status=RunPart.SUCCEEDED).delete()  # which say who computed what
        return False
    parts = [RunPart(run=run, key=key, seed=seed) for key, seed in left]
    RunPart.objects.bulk_create(parts, ignore_conflicts=True)  # those that an earlier attempt made
    return True


def parts_ring(parts: Iterable[RunPart]) -> None:
    """Ring for those that wait. BrokerDown when it cannot be rung."""
    by_queue: dict[str, list[int]] = {}
    for part in parts:
        by_queue.setdefault(part.run.queue, []).append(part.pk)
    for queue, ids in by_queue.items():
        broker.ring_parts(ids, queue=queue)


def parts_ring_waiting(queues: Iterable[str]) -> None:
    """Ring for every waiting part of these queues."""
    parts_ring(RunPart.objects.filter(OF_LIVE_RUNS, status=RunPart.QUEUED, run__queue__in=queues).select_related("run"))


def parts_end(run_ids: Iterable[int]) -> None:
    """What is left of the parts of ended runs."""
    move(RunPart.objects.filter(run__in=run_ids), to=RunPart.CANCELLED, lease_until=None)


# --- an attempt -------------------------------------------------------------------------------------------------------


def part_claim(part_id: int, *, worker: str = "") -> RunPart | None:
    """Take a waiting part of a live run; None when it is not to be had."""
    taken = claim(RunPart.objects.filter(OF_LIVE_RUNS, pk=part_id), worker)
    return RunPart.objects.select_related("run").get(pk=part_id) if taken else None


def part_admit(part_id: int, *, worker: str, memory_mb: int, gpus: list[dict[str, Any]]) -> RunPart | None:
    """Take a waiting part, unless this machine lacks what its run needs."""
    part = RunPart.objects.select_related("run").filter(pk=part_id).first()
    if part is None or lack(part.run.needs, memory_mb=memory_mb, gpus=gpus):
        return None
    return part_claim(part_id, worker=worker)


def part_admit_next(run: Run, *, worker: str, memory_mb: int, gpus: list[dict[str, Any]]) -> RunPart | None:
    """Take the first part of a run that waits, unless this machine lacks what the run needs."""
    if lack(run.needs, memory_mb=memory_mb, gpus=gpus):
        return None
    for part_id in run.parts.filter(status=RunPart.QUEUED).values_list("pk", flat=True):
        if part := part_claim(part_id, worker=worker):
            return part
    return None


def part_heartbeat(part: RunPart) -> Literal["lost"] | None:
    """Renew the lease; says whether the attempt has to stop, because the run ended or somebody else has the part."""
    return None if held(part).filter(OF_LIVE_RUNS).update(lease_until=lease()) else "lost"


@contextmanager
def _holding(part: RunPart) -> Iterator[Run | None]:
    """The run's row, locked in a transaction; None when this attempt does not hold the part any more."""
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=part.run_id)
        yield run if held(part).select_for_update().exists() else None


def part_record_values(part: RunPart, values: Iterable[dict[str, Any]]) -> None:
    """Store curve values as they come; one that is already there stays as it is."""
    with _holding(part) as run:
        if run:
            store_values(run.pk, values)


def part_finish_point(part: RunPart, *, metrics: list[dict[str, Any]]) -> None:
    """Store the part's point with its results; the part has succeeded with that."""
    with _holding(part) as run:
        if run:
            store_point(run, key=part.key, seed=part.seed, metrics=metrics)
            _finish(held(part), part, RunPart.SUCCEEDED)


# --- its end ----------------------------------------------------------------------------------------------------------


def part_fail(
    part: RunPart, *, reason_code: str, reason_args: dict[str, Any] | None = None, traceback: str = ""
) -> bool:
    """The point cannot be computed; the others go on. The run keeps the first traceback."""
    with _holding(part) as run:
        if run and traceback and not run.traceback:
            Run.objects.filter(pk=run.pk).update(traceback=traceback)
        changes = {"reason_code": reason_code, "reason_args": reason_args or {}}
        return _finish(held(part), part, RunPart.FAILED, **changes)


def _finish(rows: QuerySet[RunPart], part: RunPart, status: str, **changes: Any) -> bool:
    is_done = move(rows, to=status, **{"lease_until": None, **changes})
    if is_done:
        Run.objects.filter(pk=part.run_id).update(progress_done=F("progress_done") + 1, progress_at=timezone.now())
    return is_done


def part_release(part: RunPart) -> bool:
    """Give a part back because its worker stops."""
    is_done = move(held(part), to=RunPart.QUEUED, reason_code="worker-stopped", reason_args={}, lease_until=None)
    with suppress(broker.BrokerDown):
        if is_done:
            parts_ring([part])
    return is_done


def part_reap(part: RunPart) -> bool:
    """End or queue again a part whose worker fell silent. False when that was somebody else's."""
    rows = lapsed(RunPart).filter(pk=part.pk, attempt=part.attempt)
    if changes := lose(part):
        is_done = _finish(rows, part, RunPart.FAILED, **changes)
    else:
        lost = {"reason_code": "worker-lost", "reason_args": {}, "lost_attempts": part.lost_attempts + 1}
        is_done = move(rows, to=RunPart.QUEUED, lease_until=None, **lost)
    if is_done:
        logger.warning("Worker %s lost %s (attempt %s)", part.worker, part, part.attempt, extra={"run": part.run_id})
    return is_done
