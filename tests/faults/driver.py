"""A process with the settings of a site that asks for runs and looks at their rows: JSON, a line each way."""

import json
import os
import sys
from collections import Counter
from datetime import timedelta
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.db import OperationalError, connection  # noqa: E402
from django.db.models import F  # noqa: E402
from django.utils import timezone  # noqa: E402

from labs import broker, services  # noqa: E402
from labs.models import Machine, MetricValue, Run, RunPart  # noqa: E402


def submit(*, behaviour: int, points: int, pause: int, count: int, with_bell: bool = True) -> list[int]:
    """Ids of new runs, without the limits of a user."""
    owner, _ = User.objects.get_or_create(username="learner")
    ranks = list(range(1, points + 1))
    request = services.run_request(
        lab_slug="rank-sweep",
        params={"model": "tiny", "ranks": ranks, "scalings": ["constant"], "steps": pause},
        seeds=[behaviour],
    )
    asked = {"lab_slug": request.lab.slug, "lab_version": 1, "params": request.params, "seeds": request.seeds}
    now = timezone.now()
    runs = [Run(owner=owner, question_key=request.key, created_at=now, **asked) for _ in range(count)]
    Run.objects.bulk_create(runs)
    for run in runs:
        if with_bell:
            broker.ring(run.pk)
    return [run.pk for run in runs]


def look(*, ids: list[int]) -> list[dict[str, Any]]:
    fields = ("id", "status", "attempt", "lost_attempts", "reason_code", "reason_args", "worker", "finished_points")
    runs = list(Run.objects.filter(pk__in=ids).order_by("pk").values(*fields))
    results = MetricValue.objects.filter(run__in=ids, name="validation_loss")
    counts = Counter(results.values_list("run_id", flat=True))
    return [run | {"results": counts[run["id"]]} for run in runs]


def announce(*, workers: list[str]) -> None:
    """As if these workers had just said that they listen to the queue cpu, and nobody else."""
    Machine.objects.all().delete()
    now = timezone.now()
    seen = {"queues": ["cpu"], "cores": 2, "memory_mb": 4096, "started_at": now, "last_seen": now + timedelta(hours=1)}
    Machine.objects.bulk_create(Machine(name=f"{worker}@test", host="test", **seen) for worker in workers)


def parts(*, id: int) -> list[dict[str, Any]]:
    return list(RunPart.objects.filter(run=id).order_by("pk").values("key", "status", "attempt", "worker"))


def values(*, id: int) -> dict[str, float]:
    """All numbers of a run but times."""
    rows = MetricValue.objects.filter(run=id).exclude(name="seconds_per_step")
    return {f"{row.name} {row.point} {row.seed} {row.step}": row.value for row in rows}


def cancel(*, id: int) -> bool:
    return services.run_cancel(Run.objects.get(pk=id))


def claim(*, ids: list[int], worker: str) -> list[int]:
    """The ids that this process won."""
    return [run_id for run_id in ids if services.run_claim(run_id, worker=worker)]


def end(*, ids: list[int]) -> None:
    for run in Run.objects.filter(pk__in=ids):
        services.run_finish(run, status=Run.SUCCEEDED)


def shift_leases(*, seconds: float) -> int:
    """What the workers see when the database's clock jumps by that much the other way."""
    return Run.objects.filter(status=Run.RUNNING).update(lease_until=F("lease_until") + timedelta(seconds=seconds))


def answer(command: dict[str, Any]) -> Any:
    function = globals()[command.pop("do")]
    for _ in range(100):
        try:
            return function(**command)
        except OperationalError:  # the database is what the test has just killed
            connection.close()
    raise RuntimeError("the database does not come back")


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
        connection.close()
