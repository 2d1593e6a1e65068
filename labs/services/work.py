"""What a run and a part of a run have in common: states, attempts, leases.

Every change of state goes through `move`, which lets pass what `Work.TRANSITIONS` allows, by conditional UPDATE. Every
write of a worker names its attempt (`held`): one that lost its lease cannot write any more.
"""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q, QuerySet
from django.db.models.functions import Now

from labs.models import MetricValue, Run, RunPart, Work

W = TypeVar("W", Run, RunPart)


def move(rows: QuerySet[Any], *, to: str, **changes: Any) -> bool:
    """Move rows to a state, those that are in a state from which it may be reached. False when none is."""
    before = [state for state, after in Work.TRANSITIONS.items() if to in after]
    return bool(rows.filter(status__in=before).update(status=to, **changes))


def claim(rows: QuerySet[Any], worker: str, **changes: Any) -> bool:
    """Take a waiting row for a new attempt."""
    attempt, nothing = F("attempt") + 1, {"reason_code": "", "reason_args": {}, "training": {}}
    return move(rows, to=Work.RUNNING, worker=worker, attempt=attempt, lease_until=lease(), **nothing, **changes)


def held(work: W) -> QuerySet[W]:
    """The row for as long as this attempt holds it."""
    rows: QuerySet[W] = type(work)._default_manager.all()
    return rows.filter(pk=work.pk, status=Work.RUNNING, attempt=work.attempt)


def _from_now(seconds: float) -> ExpressionWrapper:
    """A time by the clock of the database, which is the same for all workers."""
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=DateTimeField())


def lease() -> ExpressionWrapper:
    return _from_now(settings.RUN_LEASE_SECONDS)


def lapsed(model: type[W]) -> QuerySet[W]:
    """What is running and whose lease has ended, or ends later than any lease can: then the clock was set back."""
    is_over = Q(lease_until=None) | Q(lease_until__lt=Now())
    rows: QuerySet[W] = model._default_manager.filter(status=Work.RUNNING)
    return rows.filter(is_over | Q(lease_until__gt=_from_now(2 * settings.RUN_LEASE_SECONDS)))


class LeaseWatch:
    """Tells a silent worker from a clock that jumped and a database that was away.

    A lease is taken for ended only when it has been seen ended, unrenewed, for a third of its length by a clock of our
    own that never jumps, and while the database let itself be written to. A worker that lives renews it many times
    meanwhile.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first_seen: dict[tuple[object, ...], float] = {}

    def silent(self) -> list[Run | RunPart]:
        began, earlier, self._first_seen = self._clock(), self._first_seen, {}
        with transaction.atomic():  # on SQLite this waits for whoever writes
            found: list[Run | RunPart] = [*lapsed(Run), *lapsed(RunPart).select_related("run")]
        patience = settings.RUN_LEASE_SECONDS / 3
        if self._clock() - began > patience / 4:
            return []  # nobody could renew anything just now
        seen = {(type(work), work.pk, work.attempt, work.lease_until): work for work in found}
        self._first_seen = {key: earlier.get(key, began) for key in seen}
        return [work for key, work in seen.items() if began - self._first_seen[key] >= patience]


def lose(work: Run | RunPart) -> dict[str, Any] | None:
    """What to write when its worker fell silent too often, and it is to be given up; None before."""
    losses = work.lost_attempts + 1
    if losses < settings.RUN_MAX_ATTEMPTS:
        return None
    args = {"count": losses, "worker": work.worker}
    return {"reason_code": "too-many-losses", "reason_args": args, "lost_attempts": losses, "lease_until": None}


def store_values(run_id: int, values: Iterable[dict[str, Any]]) -> None:
    """Values that are there already stay as they are."""
    MetricValue.objects.bulk_create([MetricValue(run_id=run_id, **value) for value in values], ignore_conflicts=True)


def store_point(run: Run, *, key: str, seed: int, metrics: Iterable[dict[str, Any]]) -> bool:
    """Store a finished point and its results, of a row that is locked; False when it is there already."""
    if [key, seed] in run.finished_points:
        return False
    MetricValue.objects.filter(run=run, point=key, seed=seed).delete()
    store_values(run.pk, ({"point": key, "seed": seed, **metric} for metric in metrics))
    run.finished_points.append([key, seed])
    run.lost_attempts = 0  # whoever loses the run now did not lose it for nothing
    run.save(update_fields=["finished_points", "lost_attempts"])
    return True
