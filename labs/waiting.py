"""Who could take a waiting run, and why nobody has yet: computed where it is shown, because it changes by itself."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db.models import BooleanField, ExpressionWrapper
from django.db.models.functions import Now

from labs.models import Machine, Run, RunPart
from labs.needs import LACKS, lack
from labs.reasons import message
from labs.services.machines import KEPT, is_live


@dataclass(frozen=True)
class QueueState:
    """One queue in figures."""

    name: str
    workers: int
    running: int
    waiting: int
    oldest: datetime | None  # since when the first in line has waited


@dataclass(frozen=True)
class WorkerState:
    """One worker; its number stands for its name where names are for staff only."""

    number: int
    machine: Machine
    is_live: bool
    runs: list[Run]


class Site:
    """Workers and live runs as they are now: three queries, whatever is asked of it afterwards."""

    @cached_property
    def workers(self) -> list[WorkerState]:
        """Those that were seen lately, and whether they are live."""
        live = ExpressionWrapper(is_live(), output_field=BooleanField())
        machines = Machine.objects.filter(last_seen__gte=Now() - KEPT).annotate(is_live=live).order_by("pk")
        return [
            WorkerState(number, machine, machine.is_live, self._runs_at(machine.name))
            for number, machine in enumerate(machines, start=1)
        ]

    def _runs_at(self, worker: str) -> list[Run]:
        """The runs that a worker holds, or a part of which it holds."""
        return [run for run in self.running if run.worker == worker or (run.pk, worker) in self._parts]

    @cached_property
    def _parts(self) -> set[tuple[int, str]]:
        return set(RunPart.objects.filter(status=Run.RUNNING).values_list("run_id", "worker"))

    @cached_property
    def runs(self) -> list[Run]:
        """All live runs, in the order in which they were asked for."""
        fields = ("status", "queue", "needs", "owner", "worker", "lab_slug", "preset", "created_at", "origin")
        live = Run.objects.filter(status__in=Run.LIVE).select_related("owner").order_by("pk")
        return list(live.only(*fields, "reason_code", "reason_args", "owner__username", "owner__is_staff"))

    def queues(self) -> list[QueueState]:
        return [self._queue(name) for name, _ in Run.QUEUES]

    def _queue(self, name: str) -> QueueState:
        waiting = [run.created_at for run in self.waiting if run.queue == name]
        running = sum(run.queue == name for run in self.running)
        return QueueState(name, len(self._listening(name)), running, len(waiting), min(waiting, default=None))

    @cached_property
    def waiting(self) -> list[Run]:
        return [run for run in self.runs if run.status == Run.QUEUED]

    @cached_property
    def running(self) -> list[Run]:
        return [run for run in self.runs if run.status == Run.RUNNING]

    @cached_property
    def _running_of(self) -> Counter[int | None]:
        return Counter(run.owner_id for run in self.running)

    def _listening(self, queue: str) -> list[Machine]:
        return [worker.machine for worker in self.workers if worker.is_live and queue in worker.machine.queues]

    def why_waiting(self, run: Run) -> str:
        """What a waiting run waits for, in the reader's language; empty for all others."""
        return message(*self._reason(run)) if run.status == Run.QUEUED else ""

    def _reason(self, run: Run) -> tuple[str, dict[str, Any]]:
        if code := self._lack(run):
            return code, {name: gigabytes(run.needs.get(name, 0)) for name in ("memory_mb", "gpu_memory_mb")}
        under_way = self._running_of[run.owner_id]
        if under_way >= settings.USER_MAX_RUNNING and run.owner and not run.owner.is_staff:
            return "own-running", {"count": under_way, "limit": settings.USER_MAX_RUNNING}
        ahead = sum(other.pk < run.pk and other.queue == run.queue for other in self.waiting)
        return ("in-line", {"count": ahead}) if ahead else ("next-in-line", {})

    def _lack(self, run: Run) -> str:
        """What the machine that comes closest lacks."""
        machines = self._listening(run.queue)
        if not machines:
            return "no-gpu" if run.queue == Run.GPU else "no-worker"
        lacks = [lack(run.needs, memory_mb=machine.memory_mb, gpus=machine.gpus) for machine in machines]
        return "" if "" in lacks else max(lacks, key=LACKS.index)


def gigabytes(megabytes: int) -> str:
    return f"{megabytes / 1024:.3g}"
