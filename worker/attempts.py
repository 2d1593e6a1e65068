"""One attempt at a run or at a part of one: a child process, supervised, and what it says stored."""

import traceback
from collections import defaultdict
from typing import Any

from django.conf import settings

from labs.models import MetricValue, Run, RunPart
from worker import machine
from worker.folders import scratch_folder, take_over_checkpoints
from worker.patience import insist
from worker.protocol import FinishedPoint, Job, Value
from worker.supervise import NO_SPACE, Limits, Outcome, supervise
from worker.writing import Writer


def attempt(work: Run | RunPart, writer: Writer, *, seconds: float, **job: Any) -> Outcome:
    """The outcome of a child process with that job; what it said is stored."""
    run = work.run if isinstance(work, RunPart) else work
    limits = Limits(
        seconds=seconds,
        memory_mb=settings.RUN_MEMORY_LIMIT_MB,
        disk_mb=settings.RUN_DISK_LIMIT_MB,
        gpu_memory_percent=settings.RUN_GPU_MEMORY_PERCENT,
        device=machine.device_for(run),
    )
    try:
        with scratch_folder(work) as scratch:
            whole = Job(
                lab=run.lab_slug,
                params=run.params,
                seeds=run.seeds,
                scratch=str(scratch),
                checkpoints=str(take_over_checkpoints(work)),
                models_dir=str(settings.MODELS_DIR),
                **job,
            )
            outcome = supervise(whole, on_event=writer.write, on_pulse=writer.pulse, limits=limits)
            insist(writer.flush)
    except OSError as error:
        if error.errno in NO_SPACE:
            return Outcome("failed", "disk-full", traceback=traceback.format_exc())
        raise
    return outcome


def finished_points(run: Run) -> list[FinishedPoint]:
    """The points that are there already, with their values."""
    values: defaultdict[tuple[str, int], list[Value]] = defaultdict(list)
    for row in MetricValue.objects.filter(run=run):
        values[row.point, row.seed].append(Value(name=row.name, step=row.step, value=row.value))
    return [FinishedPoint(key=key, seed=seed, metrics=values[key, seed]) for key, seed in run.finished_points]
