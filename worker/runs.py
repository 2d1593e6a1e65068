"""Execute a run of the database: claim it, supervise its child process, store what it says."""

import logging
import shutil
import time
import traceback
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from labs import services
from labs.models import MetricValue, Run
from worker import machine, stopping
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
    StepEvent,
    Value,
)
from worker.supervise import NO_SPACE, Limits, Outcome, Pulse, Stop, supervise

T = TypeVar("T")

HEARTBEAT_SECONDS = 0.5  # also how late a cancellation may be noticed
CURVE_SECONDS = 1.0  # curve values are written together this often
# A database that is away does not end a run: nobody else can be given the run meanwhile, and what the run says is kept
# until it can be written. After this long the run is left to whoever finds it.
DATABASE_PATIENCE = 600.0
DATABASE_PAUSE = 0.5  # between two attempts

DATABASE_AWAY = (OperationalError, InterfaceError)

logger = logging.getLogger(__name__)


def execute(run_id: int, *, worker: str = "") -> None:
    """Run it to its end, unless it has ended, somebody holds it, or it has to wait."""
    mine = machine.gpus_at(machine.place(), machine.gpus())
    run = services.run_admit(run_id, worker=worker, memory_mb=machine.memory_mb(), gpus=mine)
    if run is None:
        return
    logger.info("Run %s (%s), attempt %s", run.pk, run.lab_slug, run.attempt, extra={"run": run.pk})
    writer = EventWriter(run)
    try:
        outcome = _supervised(run, writer)
    except Exception as error:
        # Without this the run would look alive until its lease has ended.
        args = {"error": f"{type(error).__name__}: {error}"}
        _insist(lambda: services.run_finish(run, status=Run.FAILED, reason_code="worker-failed", reason_args=args))
        raise
    _finish(run, outcome, writer.durations)


def _supervised(run: Run, writer: "EventWriter") -> Outcome:
    limits = Limits(
        seconds=settings.RUN_TIME_LIMIT,
        memory_mb=settings.RUN_MEMORY_LIMIT_MB,
        disk_mb=settings.RUN_DISK_LIMIT_MB,
        gpu_memory_percent=settings.RUN_GPU_MEMORY_PERCENT,
        device=machine.device_for(run),
    )
    try:
        with _scratch_folder(run) as scratch:
            job = _job(run, scratch)
            outcome = supervise(job, on_event=writer.write, on_pulse=writer.pulse, limits=limits)
            _insist(writer.flush)
    except OSError as error:
        if error.errno in NO_SPACE:
            return Outcome("failed", "disk-full", traceback=traceback.format_exc())
        raise
    return outcome


def _insist(write: Callable[[], T]) -> T:
    """Write as soon as the database can be reached."""
    deadline = time.monotonic() + DATABASE_PATIENCE
    while True:
        try:
            return write()
        except DATABASE_AWAY as error:
            logger.warning("The database is away: %s", error)
            connection.close()
            if time.monotonic() > deadline or stopping.is_stopping():
                raise
        time.sleep(DATABASE_PAUSE)


def _finish(run: Run, outcome: Outcome, durations: dict[str, float]) -> None:
    logger.info("Run %s %s. %s", run.pk, outcome.status, outcome.reason, extra={"run": run.pk})
    if outcome.status == "released":
        _insist(lambda: services.run_release(run))
    elif outcome.status != "lost":
        _insist(
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


@contextmanager
def _scratch_folder(run: Run) -> Iterator[Path]:
    """An empty folder of this attempt; those that earlier attempts left behind go first."""
    for left in (settings.RUNS_DIR / str(run.pk)).glob("scratch*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = settings.RUNS_DIR / str(run.pk) / f"scratch-{run.attempt}"
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
    """Stores what one attempt says, in order, and keeps it while the database is away."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.durations: dict[str, float] = {}
        self._waiting: deque[Event] = deque()
        self._curve: list[MetricEvent] = []
        self._flushed_at = time.monotonic()
        self._heartbeat_at = 0.0
        self._away_since: float | None = None
        self._shown = ""  # of the log
        self._training: StepEvent | None = None  # not written yet
        self._total = 0  # of the progress
        self._has_computed = False  # anything of that

    def pulse(self, pulse: Pulse) -> Stop | None:
        """Renew the lease now and then; says why the run has to stop."""
        if stopping.is_stopping():
            return "released"
        if time.monotonic() - self._heartbeat_at < HEARTBEAT_SECONDS:
            return None
        self._heartbeat_at = time.monotonic()
        return self._try(lambda: self._beat(pulse))

    def _beat(self, pulse: Pulse) -> Stop | None:
        self._store_waiting()
        log = None if pulse.log == self._shown else pulse.log
        training = self._training.model_dump(exclude={"event"}) if self._training else None
        stop = services.run_heartbeat(
            self.run,
            log_tail=log,
            memory_mb=pulse.memory_mb,
            peak_memory_mb=pulse.peak_memory_mb,
            training=training,
        )
        self._shown, self._training = pulse.log, None
        return stop

    def write(self, event: Event) -> None:
        """Store an event, or keep it for later."""
        self._waiting.append(event)
        if self._away_since is None:  # else the next heartbeat tries again
            self._try(self._store_waiting)

    def flush(self) -> None:
        """Store all there is; raises when the database is away."""
        self._store_waiting()
        self._store_curve()

    def _try(self, write: Callable[[], T]) -> T | None:
        try:
            answer = write()
        except DATABASE_AWAY as error:
            connection.close()
            if self._away_since is None:
                logger.warning("Run %s: the database is away: %s", self.run.pk, error, extra={"run": self.run.pk})
                self._away_since = time.monotonic()
            if time.monotonic() - self._away_since > DATABASE_PATIENCE:
                raise
            return None
        self._away_since = None
        return answer

    def _store_waiting(self) -> None:
        while self._waiting:
            self._store(self._waiting[0])
            self._waiting.popleft()

    def _store(self, event: Event) -> None:
        """All of these may be repeated: an event whose storing was interrupted is stored again."""
        if isinstance(event, MetricEvent):
            if time.monotonic() - self._flushed_at >= CURVE_SECONDS:
                self._store_curve()
            self._curve.append(event)
            return
        if isinstance(event, StepEvent):
            self._training = event  # the next heartbeat writes it
            return
        self._store_curve()
        match event:
            case EnvironmentEvent():
                services.run_environment(self.run, event.environment)
            case ProgressEvent():
                self._progress(event)
            case PointEvent():
                metrics = [value.model_dump() for value in event.metrics]
                self._has_computed = True
                services.run_finish_point(self.run, key=event.key, seed=event.seed, metrics=metrics)
            case ArtifactEvent():
                self._keep(event)
            case DoneEvent():
                self.durations = event.durations

    def _progress(self, event: ProgressEvent) -> None:
        if event.total != self._total:
            self._total, self._has_computed = event.total, False
        self._training = None  # it belongs to what is done now
        services.run_progress(
            self.run,
            done=event.done,
            total=event.total,
            note_code=event.code,
            note_args=event.args,
            is_start=not self._has_computed,
        )

    def _store_curve(self) -> None:
        """Write the curve values that have gathered."""
        rows = [e.model_dump(exclude={"event", "key"}) | {"point": e.key} for e in self._curve]
        if rows:
            services.run_record_values(self.run, rows)
        self._curve.clear()
        self._flushed_at = time.monotonic()

    def _keep(self, event: ArtifactEvent) -> None:
        folder: Path = settings.RUNS_DIR / str(self.run.pk)
        source = Path(event.path).resolve()
        if not source.is_relative_to((folder / f"scratch-{self.run.attempt}").resolve()):
            raise ValueError(f"Invalid artifact {event.name!r}: its file is outside the run's scratch folder")
        target = folder / "artifacts" / event.name
        target.parent.mkdir(exist_ok=True)
        file = source if source.exists() else target  # moved, but its row could not be written
        services.run_keep_artifact(
            self.run,
            name=event.name,
            size=file.stat().st_size,
            sha256=sha256(file),
            keep=lambda: None if file is target else shutil.move(source, target),
        )
