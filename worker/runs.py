"""Execute a run of the database: claim it, have it computed, end it."""

import logging

from django.conf import settings

from labs import services
from labs.models import Run
from worker import machine, parts
from worker.attempts import attempt, finished_points
from worker.patience import insist
from worker.supervise import Outcome
from worker.tracking import track
from worker.writing import RunWriter

logger = logging.getLogger(__name__)


def execute(run_id: int, *, worker: str = "") -> None:
    """Run it to its end, unless it has ended, somebody holds it, or it has to wait."""
    run = services.run_admit(run_id, worker=worker, memory_mb=machine.memory_mb(), gpus=machine.own_gpus())
    if run is None:
        return
    logger.info("Run %s (%s), attempt %s", run.pk, run.lab_slug, run.attempt, extra={"run": run.pk})
    try:
        outcome, durations = parts.share(run, worker=worker) if parts.is_shared(run) else _compute(run)
    except Exception as error:
        # Without this the run would look alive until its lease has ended.
        args = {"error": f"{type(error).__name__}: {error}"}
        insist(lambda: services.run_finish(run, status=Run.FAILED, reason_code="worker-failed", reason_args=args))
        raise
    _finish(run, outcome, durations)


def _compute(run: Run) -> tuple[Outcome, dict[str, float]]:
    """All of it in one process."""
    writer = RunWriter(run)
    return attempt(run, writer, seconds=settings.RUN_TIME_LIMIT, finished=finished_points(run)), writer.durations


def _finish(run: Run, outcome: Outcome, durations: dict[str, float]) -> None:
    logger.info("Run %s %s. %s", run.pk, outcome.status, outcome.reason, extra={"run": run.pk})
    if outcome.status == "released":
        insist(lambda: services.run_release(run))
    elif outcome.status != "lost":
        insist(
            lambda: services.run_finish(
                run,
                status=outcome.status,
                reason_code=outcome.code,
                reason_args=outcome.args,
                traceback=outcome.traceback,
                log_tail=outcome.log,
                durations=durations,
                peak_memory_mb=outcome.peak_memory_mb,
            )
        )
        if outcome.status == Run.SUCCEEDED:
            run.refresh_from_db()
            track(run)
