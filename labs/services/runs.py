"""A run's life after it was asked for: claimed, worked on, given back, ended.

Every change of state goes through `_move`, which lets pass what `Work.TRANSITIONS` allows, by conditional UPDATE. Every
write of a worker names its attempt: one that lost its lease cannot write any more.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Literal

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from labs import broker
from labs.models import Artifact, MetricValue, Run, Work

logger = logging.getLogger(__name__)

LOG_CHARACTERS = 20_000  # of a run's log that are kept


def _move(rows: QuerySet[Any], *, to: str, **changes: Any) -> bool:
    """Move rows to a state, those that are in a state from which it may be reached. False when none is."""
    before = [state for state, after in Work.TRANSITIONS.items() if to in after]
    return bool(rows.filter(status__in=before).update(status=to, **changes))


def _held(run: Run) -> QuerySet[Run]:
    """The run's row for as long as this attempt holds it."""
    return Run.objects.filter(pk=run.pk, status=Run.RUNNING, attempt=run.attempt)


@contextmanager
def _holding(run: Run) -> Iterator[Run | None]:
    """The run's row, locked in a transaction; None when this attempt does not hold it any more."""
    with transaction.atomic():
        yield _held(run).select_for_update().first()


# --- leases -----------------------------------------------------------------------------------------------------------


def _from_now(seconds: float) -> ExpressionWrapper:
    """A time by the clock of the database, which is the same for all workers."""
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=DateTimeField())


def _lease() -> ExpressionWrapper:
    return _from_now(settings.RUN_LEASE_SECONDS)


def _lapsed() -> QuerySet[Run]:
    """Running runs whose lease has ended, or ends later than any lease can: then the clock was set back."""
    is_over = Q(lease_until=None) | Q(lease_until__lt=Now())
    return Run.objects.filter(
        is_over | Q(lease_until__gt=_from_now(2 * settings.RUN_LEASE_SECONDS)), status=Run.RUNNING
    )


class LeaseWatch:
    """Tells a silent worker from a clock that jumped and a database that was away.

    A lease is taken for ended only when it has been seen ended, unrenewed, for a third of its length by a clock of our
    own that never jumps, and while the database let itself be written to. A worker that lives renews it many times
    meanwhile.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first_seen: dict[tuple[int, int, Any], float] = {}

    def silent(self) -> list[Run]:
        began, earlier, self._first_seen = self._clock(), self._first_seen, {}
        with transaction.atomic():  # on SQLite this waits for whoever writes
            lapsed = {(run.pk, run.attempt, run.lease_until): run for run in _lapsed()}
        patience = settings.RUN_LEASE_SECONDS / 3
        if self._clock() - began > patience / 4:
            return []  # nobody could renew anything just now
        self._first_seen = {key: earlier.get(key, began) for key in lapsed}
        return [run for key, run in lapsed.items() if began - self._first_seen[key] >= patience]


def runs_reap(watch: LeaseWatch) -> list[int]:
    """End or queue again what silent workers held; returns the ids. Any number of workers may do it at once."""
    reaped = [run for run in watch.silent() if _reap(run)]
    for run in reaped:
        with suppress(broker.BrokerDown):  # an idle worker rings for it later
            broker.ring(run.pk, queue=run.queue)
    return [run.pk for run in reaped]


def _reap(run: Run) -> bool:
    rows = _lapsed().filter(pk=run.pk, attempt=run.attempt)
    losses = run.lost_attempts + 1
    if losses >= settings.RUN_MAX_ATTEMPTS and not run.cancel_requested:
        args = {"count": losses, "worker": run.worker}
        changes = {"reason_code": "too-many-losses", "reason_args": args, "lost_attempts": losses}
        is_done = _move(rows, to=Run.FAILED, finished_at=timezone.now(), lease_until=None, **changes)
    else:
        is_done = _give_back(rows, "worker-lost", lost_attempts=losses)
    if is_done:
        logger.warning("Worker %s lost run %s (attempt %s)", run.worker, run.pk, run.attempt, extra={"run": run.pk})
    return is_done


def _give_back(rows: QuerySet[Run], code: str, **changes: Any) -> bool:
    """Queue a run again, without ringing; one that was to be cancelled is."""
    now = timezone.now()
    if _move(rows.filter(cancel_requested=True), to=Run.CANCELLED, reason_code="cancelled", finished_at=now):
        return True
    waiting = rows.filter(cancel_requested=False)
    return _move(waiting, to=Run.QUEUED, reason_code=code, reason_args={}, lease_until=None, **changes)


def runs_ring_waiting(queues: Iterable[str] = (Run.CPU, Run.GPU)) -> list[int]:
    """Ring for every waiting run of these queues. A bell too many does no harm; BrokerDown when it cannot be rung."""
    waiting = Run.objects.filter(status=Run.QUEUED, queue__in=queues).order_by("pk")
    ids = list(waiting.values_list("pk", "queue"))
    for run_id, queue in ids:
        broker.ring(run_id, queue=queue)
    return [run_id for run_id, _ in ids]


# --- an attempt -------------------------------------------------------------------------------------------------------


def run_claim(run_id: int, *, worker: str = "") -> Run | None:
    """Take a waiting run for execution; None when it is not to be had (ended, or held by somebody)."""
    taken = _move(
        Run.objects.filter(pk=run_id),
        to=Run.RUNNING,
        worker=worker,
        attempt=F("attempt") + 1,
        lease_until=_lease(),
        started_at=timezone.now(),
        reason_code="",
        reason_args={},
    )
    return Run.objects.get(pk=run_id) if taken else None


def run_heartbeat(
    run: Run, *, log_tail: str | None = None, peak_memory_mb: int | None = None
) -> Literal["cancelled", "lost"] | None:
    """Renew the lease, with what has changed. Says why the attempt has to stop: cancelled, or no longer ours."""
    changes: dict[str, Any] = {} if log_tail is None else {"log_tail": log_tail[-LOG_CHARACTERS:]}
    if peak_memory_mb is not None:
        changes["peak_memory_mb"] = peak_memory_mb
    if _held(run).filter(cancel_requested=False).update(lease_until=_lease(), **changes):
        return None
    return "cancelled" if _held(run).exists() else "lost"


def run_progress(
    run: Run, *, done: float, total: float, note_code: str = "", note_args: dict[str, Any] | None = None
) -> None:
    _held(run).update(progress_done=done, progress_total=total, note_code=note_code, note_args=note_args or {})


def run_environment(run: Run, environment: dict[str, Any]) -> None:
    _held(run).update(environment=environment)


def run_record_values(run: Run, values: Iterable[dict[str, Any]]) -> None:
    """Store curve values as they come; one that is already there stays as it is."""
    with _holding(run) as held:
        if held:
            _store_values(held, values)


def _store_values(run: Run, values: Iterable[dict[str, Any]]) -> None:
    MetricValue.objects.bulk_create([MetricValue(run=run, **value) for value in values], ignore_conflicts=True)


def run_finish_point(run: Run, *, key: str, seed: int, metrics: list[dict[str, Any]]) -> None:
    """Store a finished point and its results together; a point delivered twice is stored once."""
    with _holding(run) as held:
        if held is None or [key, seed] in held.finished_points:
            return
        MetricValue.objects.filter(run=held, point=key, seed=seed).delete()
        _store_values(held, ({"point": key, "seed": seed, **metric} for metric in metrics))
        held.finished_points.append([key, seed])
        held.lost_attempts = 0  # whoever loses the run now did not lose it for nothing
        held.save(update_fields=["finished_points", "lost_attempts"])


def run_keep_artifact(run: Run, *, name: str, size: int, sha256: str, keep: Callable[[], object]) -> None:
    """Note a file of the run; `keep` puts it into its place, while nobody else can be given the run."""
    with _holding(run) as held:
        if held:
            keep()
            Artifact.objects.update_or_create(run=held, name=name, defaults={"size": size, "sha256": sha256})


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
    return _move(
        _held(run),
        to=status,
        reason_code=reason_code,
        reason_args=reason_args or {},
        traceback=traceback,
        log_tail=log_tail[-LOG_CHARACTERS:],
        durations=durations or {},
        peak_memory_mb=peak_memory_mb,
        lease_until=None,
        finished_at=timezone.now(),
    )


def run_release(run: Run) -> bool:
    """Give a run back because its worker stops: another attempt goes on where this one is."""
    is_done = _give_back(_held(run), "worker-stopped")
    with suppress(broker.BrokerDown):
        if is_done:
            broker.ring(run.pk, queue=run.queue)
    return is_done


def run_cancel(run: Run) -> bool:
    """Cancel a waiting run at once, ask a running one to stop. False when it has already ended."""
    rows = Run.objects.filter(pk=run.pk)
    waiting = rows.filter(status=Run.QUEUED)
    now = timezone.now()
    if _move(waiting, to=Run.CANCELLED, cancel_requested=True, finished_at=now, reason_code="cancelled-early"):
        return True
    return bool(rows.filter(status=Run.RUNNING).update(cancel_requested=True))
