"""A sweep shared out among several workers: one point at a time, and in the end what follows from all of them."""

import logging
import time
from contextlib import suppress
from typing import Any

from django.conf import settings

from labs import services
from labs.broker import BrokerDown
from labs.catalog import UnknownLab
from labs.models import Run, RunPart
from labs.parameters import ParameterErrors, validate
from worker import machine, stopping
from worker.attempts import attempt, finished_points
from worker.patience import insist
from worker.protocol import PointName
from worker.supervise import Outcome
from worker.writing import HEARTBEAT_SECONDS, PartWriter, RunWriter

logger = logging.getLogger(__name__)

NAMED_POINTS = 5  # of those that failed, in the reason


def execute_part(part_id: int, *, worker: str = "") -> None:
    """Compute one point of somebody's run, unless somebody has."""
    mine = machine.own_gpus()
    if part := services.part_admit(part_id, worker=worker, memory_mb=machine.memory_mb(), gpus=mine):
        compute(part, seconds=settings.RUN_TIME_LIMIT)


def compute(part: RunPart, *, seconds: float, holder: Run | None = None) -> None:
    """Compute a claimed part to its end. `holder` is its run where this worker holds that too."""
    logger.info("%s, attempt %s", part, part.attempt, extra={"run": part.run_id})
    name = PointName(key=part.key, seed=part.seed)
    try:
        outcome = attempt(part, PartWriter(part, holder), seconds=seconds, only=name)
    except Exception as error:
        _fail(part, Outcome("failed", "worker-failed", {"error": f"{type(error).__name__}: {error}"}))
        raise
    if outcome.status == "succeeded":  # and if its point was not among what it computed?
        outcome = Outcome("failed", "not-computed")
    if outcome.status in ("failed", "timed_out"):
        _fail(part, outcome)
    elif outcome.status == "released":
        insist(lambda: services.part_release(part))


def _fail(part: RunPart, outcome: Outcome) -> None:
    """Says nothing when the part has succeeded, or is somebody else's."""
    insist(
        lambda: services.part_fail(
            part, reason_code=outcome.code, reason_args=outcome.args, traceback=outcome.traceback
        )
    )


# --- the run ----------------------------------------------------------------------------------------------------------


def is_shared(run: Run) -> bool:
    """Share the run out if its lab knows how, and others could help."""
    try:
        lab = run.lab
        points = lab.points(validate(lab, run.params), run.seeds) if lab.points else []
    except (UnknownLab, ParameterErrors):  # of another version: the child process will say what is wrong
        return False
    return bool(points) and services.parts_make(run, points)


def share(run: Run, *, worker: str = "") -> tuple[Outcome, dict[str, float]]:
    """Compute the parts with whoever else does, wait for theirs, and gather; outcome and durations of the run."""
    began = time.monotonic()
    parts = list(run.parts.select_related("run"))
    is_done = [part for part in parts if not part.is_live]
    services.run_progress(run, done=len(is_done), total=len(parts) + 1, note_code="shared")
    with suppress(BrokerDown):  # idle workers ring for them later
        services.parts_ring(part for part in parts if part.status == RunPart.QUEUED)
    outcome = _compute_all(run, worker, began + settings.RUN_TIME_LIMIT) or _gather(
        run, began + settings.RUN_TIME_LIMIT - time.monotonic()
    )
    return outcome, {"total": time.monotonic() - began}


def _compute_all(run: Run, worker: str, deadline: float) -> Outcome | None:
    """Until no part is left; the outcome of a run that has to end before."""
    memory_mb, gpus = machine.memory_mb(), machine.own_gpus()
    while not (stop := insist(lambda: services.run_heartbeat(run))):
        left = deadline - time.monotonic()
        if stopping.is_stopping():
            return Outcome("released")
        if left < 0:
            return Outcome("timed_out", "timed-out", {"seconds": f"{settings.RUN_TIME_LIMIT:g}"})
        if part := insist(lambda: services.part_admit_next(run, worker=worker, memory_mb=memory_mb, gpus=gpus)):
            compute(part, seconds=left, holder=run)
        elif insist(run.parts.filter(status__in=RunPart.LIVE).exists):
            time.sleep(HEARTBEAT_SECONDS)
        else:
            return None
    return Outcome(stop, stop if stop == "cancelled" else "")


def _gather(run: Run, seconds: float) -> Outcome:
    """Compute what follows from the points. A run that lacks some has failed, and keeps the others."""
    insist(lambda: run.refresh_from_db(fields=["finished_points", "traceback"]))
    failed = insist(lambda: list(run.parts.filter(status=RunPart.FAILED)))
    left_out = [PointName(key=part.key, seed=part.seed) for part in failed]
    points = insist(lambda: finished_points(run))
    outcome = attempt(run, RunWriter(run), seconds=seconds, finished=points, left_out=left_out)
    if failed and outcome.status in ("succeeded", "failed"):
        return Outcome("failed", "points-failed", _missing(failed), traceback=run.traceback, log=outcome.log)
    return outcome


def _missing(failed: list[RunPart]) -> dict[str, Any]:
    names = [f"{part.key} (seed {part.seed})" for part in failed]
    more = ["…"] if len(names) > NAMED_POINTS else []
    first = {"code": failed[0].reason_code, "args": failed[0].reason_args}
    return {"count": len(failed), "points": "; ".join(names[:NAMED_POINTS] + more), "reason": first}
