"""A run's life after it was asked for: claimed, worked on, given back, ended."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from django.db import transaction
from django.db.models import Case, F, QuerySet, When
from django.db.models.functions import Greatest
from django.utils import timezone

from labs import broker
from labs.models import Artifact, Run, RunPart
from labs.services.parts import part_reap, parts_end, parts_ring, parts_ring_waiting
from labs.services.predictions import predictions_score
from labs.services.work import LeaseWatch, claim, held, lapsed, lease, lose, move, store_point, store_values

logger = logging.getLogger(__name__)

LOG_CHARACTERS = 20_000  # of a run's log that are kept
_AFRESH: dict[str, Any] = {"progress_within": 0, "progress_since": None, "memory_mb": None}  # with each attempt


@contextmanager
def _holding(run: Run) -> Iterator[Run | None]:
    """The run's row, locked in a transaction; None when this attempt does not hold it any more."""
    with transaction.atomic():
        yield held(run).select_for_update().first()


# --- leases -----------------------------------------------------------------------------------------------------------


def runs_reap(watch: LeaseWatch) -> list[int]:
    """End or queue again what silent workers held; returns the runs. Any number of workers may do it at once."""
    silent = watch.silent()
    runs = [work for work in silent if isinstance(work, Run) and _reap(work)]
    parts = [work for work in silent if isinstance(work, RunPart) and part_reap(work)]
    with suppress(broker.BrokerDown):  # an idle worker rings for them later
        for run in runs:
            broker.ring(run.pk, queue=run.queue)
        parts_ring(parts)
    return [run.pk for run in runs]


def _reap(run: Run) -> bool:
    rows = lapsed(Run).filter(pk=run.pk, attempt=run.attempt)
    changes = None if run.cancel_requested else lose(run)
    if changes:
        is_done = _end(rows, Run.FAILED, **changes)
    else:
        is_done = _give_back(rows, "worker-lost", lost_attempts=run.lost_attempts + 1)
    if is_done:
        logger.warning("Worker %s lost run %s (attempt %s)", run.worker, run.pk, run.attempt, extra={"run": run.pk})
    return is_done


@transaction.atomic
def _end(rows: QuerySet[Run], status: str, **changes: Any) -> bool:
    """Move a run to a final state, and with it what parts of it are left."""
    ids = list(rows.values_list("pk", flat=True))
    is_done = move(rows, to=status, finished_at=timezone.now(), **changes)
    if is_done:
        parts_end(ids)
    return is_done


def _give_back(rows: QuerySet[Run], code: str, **changes: Any) -> bool:
    """Queue a run again, without ringing; one that was to be cancelled is."""
    if _end(rows.filter(cancel_requested=True), Run.CANCELLED, reason_code="cancelled"):
        return True
    waiting = rows.filter(cancel_requested=False)
    return move(waiting, to=Run.QUEUED, reason_code=code, reason_args={}, lease_until=None, **changes)


def runs_ring_waiting(queues: Iterable[str] = (Run.CPU, Run.GPU)) -> list[int]:
    """Ring for every waiting run of these queues, and for waiting parts; returns the runs.

    A bell too many does no harm. BrokerDown when it cannot be rung.
    """
    queues = list(queues)
    parts_ring_waiting(queues)
    waiting = Run.objects.filter(status=Run.QUEUED, queue__in=queues).order_by("pk")
    ids = list(waiting.values_list("pk", "queue"))
    for run_id, queue in ids:
        broker.ring(run_id, queue=queue)
    return [run_id for run_id, _ in ids]


# --- an attempt -------------------------------------------------------------------------------------------------------


def run_claim(run_id: int, *, worker: str = "") -> Run | None:
    """Take a waiting run for execution; None when it is not to be had (ended, or held by somebody)."""
    taken = claim(Run.objects.filter(pk=run_id), worker, **_AFRESH, started_at=timezone.now())
    return Run.objects.get(pk=run_id) if taken else None


def run_heartbeat(
    run: Run,
    *,
    log_tail: str | None = None,
    memory_mb: int | None = None,
    peak_memory_mb: int | None = None,
    training: dict[str, Any] | None = None,
) -> Literal["cancelled", "lost"] | None:
    """Renew the lease, with what has changed. Says why the attempt has to stop: cancelled, or no longer ours."""
    changes: dict[str, Any] = {} if log_tail is None else {"log_tail": log_tail[-LOG_CHARACTERS:]}
    if peak_memory_mb is not None:
        changes |= {"memory_mb": memory_mb, "peak_memory_mb": peak_memory_mb}
    if training is not None:
        changes |= {"training": training} | _further(training["step"] / training["steps"])
    if held(run).filter(cancel_requested=False).update(lease_until=lease(), **changes):
        return None
    return "cancelled" if held(run).exists() else "lost"


def _further(share: float) -> dict[str, Any]:
    """Of what is under way. Never back: what trains several models for one point starts again from step 1."""
    is_further = When(progress_within__lt=share, then=timezone.now())
    return {
        "progress_within": Greatest("progress_within", share),
        "progress_at": Case(is_further, default=F("progress_at")),
    }


def run_progress(
    run: Run,
    *,
    done: float,
    total: float,
    note_code: str = "",
    note_args: dict[str, Any] | None = None,
    is_start: bool = True,
) -> None:
    """How far it is. `is_start`: nothing of this was computed in this attempt, so that the pace counts from here."""
    now = timezone.now()
    changes = {"progress_from": done, "progress_since": now} if is_start else {}
    held(run).update(
        progress_done=done,
        progress_total=total,
        progress_within=0,
        progress_at=now,
        note_code=note_code,
        note_args=note_args or {},
        **changes,
    )


def run_environment(run: Run, environment: dict[str, Any]) -> None:
    held(run).update(environment=environment)


def run_record_values(run: Run, values: Iterable[dict[str, Any]]) -> None:
    """Store curve values as they come; one that is already there stays as it is."""
    with _holding(run) as mine:
        if mine:
            store_values(run.pk, values)


def run_finish_point(run: Run, *, key: str, seed: int, metrics: list[dict[str, Any]]) -> None:
    """Store a finished point and its results together; a point delivered twice is stored once."""
    with _holding(run) as mine:
        if mine:
            store_point(mine, key=key, seed=seed, metrics=metrics)


def run_keep_artifact(run: Run, *, name: str, size: int, sha256: str, keep: Callable[[], object]) -> None:
    """Note a file of the run; `keep` puts it into its place, while nobody else can be given the run."""
    with _holding(run) as mine:
        if mine:
            keep()
            Artifact.objects.update_or_create(run=mine, name=name, defaults={"size": size, "sha256": sha256})


# --- its end ----------------------------------------------------------------------------------------------------------


def run_finish(
    run: Run,
    *,
    status: str,
    reason_code: str = "",
    reason_args: dict[str, Any] | None = None,
    traceback: str = "",
    log_tail: str = "",
    durations: dict[str, float] | None = None,
    peak_memory_mb: int | None = None,
) -> bool:
    """Move a run to its final state. False when somebody else already did, or took the run over."""
    is_done = _end(
        held(run),
        status,
        reason_code=reason_code,
        reason_args=reason_args or {},
        traceback=traceback,
        log_tail=log_tail[-LOG_CHARACTERS:],
        durations=durations or {},
        peak_memory_mb=peak_memory_mb,
        lease_until=None,
    )
    if is_done and status == Run.SUCCEEDED:
        _score_predictions(run)
    return is_done


def _score_predictions(run: Run) -> None:
    """Afterwards and apart: a run with results is over, whatever becomes of what was expected of it."""
    run.refresh_from_db(fields=["status"])
    try:
        predictions_score(run)
    except Exception:
        logger.exception("The predictions of run %s could not be scored", run.pk, extra={"run": run.pk})


def run_release(run: Run) -> bool:
    """Give a run back because its worker stops: another attempt goes on where this one is."""
    is_done = _give_back(held(run), "worker-stopped")
    with suppress(broker.BrokerDown):
        if is_done:
            broker.ring(run.pk, queue=run.queue)
    return is_done


def run_cancel(run: Run) -> bool:
    """Cancel a waiting run at once, ask a running one to stop. False when it has already ended."""
    rows = Run.objects.filter(pk=run.pk)
    waiting = rows.filter(status=Run.QUEUED)
    if _end(waiting, Run.CANCELLED, cancel_requested=True, reason_code="cancelled-early"):
        return True
    return bool(rows.filter(status=Run.RUNNING).update(cancel_requested=True))
