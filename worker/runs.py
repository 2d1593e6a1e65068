"""Execute a run of the database: claim it, supervise its child process, store what it says."""

import logging
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from labs import broker, services
from labs.models import MetricValue, Run
from worker.models.store import sha256
from worker.protocol import (
    ArtifactEvent,
    DoneEvent,
    EnvironmentEvent,
    Event,
    FinishedPoint,
    Job,
    MetricEvent,
    PointEvent,
    ProgressEvent,
    Value,
)
from worker.supervise import Outcome, supervise

HEARTBEAT_SECONDS = 0.5  # also how late a cancellation may be noticed
CURVE_SECONDS = 1.0  # curve values are written together this often

logger = logging.getLogger(__name__)


def execute(run_id: int) -> None:
    """Run it to its end, unless it has ended or is alive elsewhere."""
    run = services.run_claim(run_id)
    if run is None:
        _come_back_later(run_id)
        return
    logger.info("Run %s (%s), attempt %s", run.pk, run.lab_slug, run.attempt)
    writer = EventWriter(run)
    try:
        with _scratch_folder(run) as scratch:
            outcome = supervise(
                _job(run, scratch),
                on_event=writer.write,
                should_cancel=writer.should_cancel,
                time_limit=settings.RUN_TIME_LIMIT,
                memory_limit=settings.RUN_MEMORY_LIMIT_MB,
            )
            writer.flush()
    except Exception as error:
        # Without this the run would look alive until somebody asks again.
        services.run_finish(run, status=Run.FAILED, reason=f"The worker itself failed: {type(error).__name__}: {error}")
        raise
    _finish(run, outcome, writer.durations)


def _come_back_later(run_id: int) -> None:
    """The worker that holds the run may be dead: ring again when its lease has ended."""
    seconds = services.run_lease_ends_in(run_id)
    if seconds is not None:
        broker.ring(run_id, countdown=seconds + 1)


def _finish(run: Run, outcome: Outcome, durations: dict[str, float]) -> None:
    services.run_finish(
        run,
        status=outcome.status,
        reason=f"{outcome.reason} {outcome.advice}".strip(),
        traceback=outcome.traceback,
        log_tail=outcome.log,
        durations=durations,
    )
    logger.info("Run %s %s. %s", run.pk, outcome.status, outcome.reason)


@contextmanager
def _scratch_folder(run: Run) -> Iterator[Path]:
    """An empty folder; one that an earlier attempt left behind goes first."""
    folder = settings.RUNS_DIR / str(run.pk) / "scratch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _job(run: Run, scratch: Path) -> Job:
    return Job(
        lab=run.lab_slug,
        params=run.params,
        seeds=run.seeds,
        scratch=str(scratch),
        models_dir=str(settings.MODELS_DIR),
        finished=finished_points(run),
    )


def finished_points(run: Run) -> list[FinishedPoint]:
    """The points that earlier attempts finished, with their values."""
    values: defaultdict[tuple[str, int], list[Value]] = defaultdict(list)
    for row in MetricValue.objects.filter(run=run):
        values[row.point, row.seed].append(Value(name=row.name, step=row.step, value=row.value))
    return [FinishedPoint(key=key, seed=seed, metrics=values[key, seed]) for key, seed in run.finished_points]


class EventWriter:
    """Stores the events of one attempt."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.durations: dict[str, float] = {}
        self._curve: list[MetricEvent] = []
        self._flushed_at = time.monotonic()
        self._heartbeat_at = 0.0
        self._is_ours = True

    def should_cancel(self) -> bool:
        """Renew the lease now and then; True once the run was cancelled, deleted or taken over."""
        if time.monotonic() - self._heartbeat_at >= HEARTBEAT_SECONDS:
            self._is_ours = services.run_heartbeat(self.run)
            self._heartbeat_at = time.monotonic()
        return not self._is_ours

    def write(self, event: Event) -> None:
        if isinstance(event, MetricEvent):
            self._curve.append(event)
            if time.monotonic() - self._flushed_at >= CURVE_SECONDS:
                self.flush()
            return
        self.flush()
        match event:
            case EnvironmentEvent():
                services.run_environment(self.run, event.environment)
            case ProgressEvent():
                services.run_progress(self.run, done=event.done, total=event.total, note=event.note)
            case PointEvent():
                metrics = [value.model_dump() for value in event.metrics]
                services.run_finish_point(self.run, key=event.key, seed=event.seed, metrics=metrics)
            case ArtifactEvent():
                self._keep(event)
            case DoneEvent():
                self.durations = event.durations

    def flush(self) -> None:
        """Write the curve values that have gathered."""
        rows = [e.model_dump(exclude={"event", "key"}) | {"point": e.key} for e in self._curve]
        services.run_record_values(self.run, rows)
        self._curve.clear()
        self._flushed_at = time.monotonic()

    def _keep(self, event: ArtifactEvent) -> None:
        folder: Path = settings.RUNS_DIR / str(self.run.pk)
        source = Path(event.path).resolve()
        if not source.is_relative_to((folder / "scratch").resolve()):
            raise ValueError(f"Invalid artifact {event.name!r}: its file is outside the run's scratch folder")
        target = folder / "artifacts" / event.name
        target.parent.mkdir(exist_ok=True)
        shutil.move(source, target)
        services.run_keep_artifact(self.run, name=event.name, size=target.stat().st_size, sha256=sha256(target))
