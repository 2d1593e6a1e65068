"""Store what the child process of a run, or of a part of one, says."""

import logging
import shutil
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from django.db import connection

from labs import services
from labs.models import Run, RunPart
from worker import patience, stopping
from worker.folders import checkpoints_of, run_folder, scratch_of
from worker.models.store import sha256
from worker.patience import DATABASE_AWAY
from worker.protocol import (
    ArtifactEvent,
    DoneEvent,
    EnvironmentEvent,
    Event,
    MetricEvent,
    PointEvent,
    ProgressEvent,
    StepEvent,
)
from worker.supervise import Pulse, Stop

T = TypeVar("T")

HEARTBEAT_SECONDS = 0.5  # also how late a cancellation may be noticed
CURVE_SECONDS = 1.0  # curve values are written together this often

logger = logging.getLogger(__name__)


class Writer:
    """Stores events in order, and keeps them while the database is away."""

    def __init__(self, work: Run | RunPart) -> None:
        self.durations: dict[str, float] = {}
        self._checkpoints = checkpoints_of(work)
        self._name = str(work)
        self._waiting: deque[Event] = deque()
        self._curve: list[MetricEvent] = []
        self._flushed_at = time.monotonic()
        self._heartbeat_at = 0.0
        self._away_since: float | None = None
        self._shown = ""  # of the log
        self._training: StepEvent | None = None  # not written yet

    def renew(self, news: dict[str, Any]) -> Stop | None:
        """Renew the lease, with what is new of the run; says why the attempt has to stop."""
        raise NotImplementedError

    def record(self, values: list[dict[str, Any]]) -> None:
        """Store values of a curve."""
        raise NotImplementedError

    def finish_point(self, point: PointEvent, metrics: list[dict[str, Any]]) -> None:
        raise NotImplementedError

    def store(self, event: Event) -> None:
        """Store an event of another kind, where it matters."""

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
        memory = {"memory_mb": pulse.memory_mb, "peak_memory_mb": pulse.peak_memory_mb}
        stop = self.renew({"log_tail": log, "training": training, **memory})
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
                logger.warning("%s: the database is away: %s", self._name, error)
                self._away_since = time.monotonic()
            if time.monotonic() - self._away_since > patience.PATIENCE:
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
        if isinstance(event, PointEvent):
            self.finish_point(event, [value.model_dump() for value in event.metrics])
            shutil.rmtree(self._checkpoints / event.folder, ignore_errors=True)
        elif isinstance(event, DoneEvent):
            self.durations = event.durations
        else:
            self.store(event)

    def _store_curve(self) -> None:
        """Write the curve values that have gathered."""
        rows = [e.model_dump(exclude={"event", "key"}) | {"point": e.key} for e in self._curve]
        if rows:
            self.record(rows)
        self._curve.clear()
        self._flushed_at = time.monotonic()


class RunWriter(Writer):
    """Stores what an attempt at a run says."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.run = run
        self._total = 0  # of the progress
        self._has_computed = False  # anything of that

    def renew(self, news: dict[str, Any]) -> Stop | None:
        return services.run_heartbeat(self.run, **news)

    def record(self, values: list[dict[str, Any]]) -> None:
        services.run_record_values(self.run, values)

    def finish_point(self, point: PointEvent, metrics: list[dict[str, Any]]) -> None:
        self._has_computed = True
        services.run_finish_point(self.run, key=point.key, seed=point.seed, metrics=metrics)

    def store(self, event: Event) -> None:
        match event:
            case EnvironmentEvent():
                services.run_environment(self.run, event.environment)
            case ProgressEvent():
                self._progress(event)
            case ArtifactEvent():
                self._keep(event)

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

    def _keep(self, event: ArtifactEvent) -> None:
        source = Path(event.path).resolve()
        if not source.is_relative_to(scratch_of(self.run).resolve()):
            raise ValueError(f"Invalid artifact {event.name!r}: its file is outside the run's scratch folder")
        target = run_folder(self.run.pk) / "artifacts" / event.name
        target.parent.mkdir(exist_ok=True)
        file = source if source.exists() else target  # moved, but its row could not be written
        services.run_keep_artifact(
            self.run,
            name=event.name,
            size=file.stat().st_size,
            sha256=sha256(file),
            keep=lambda: None if file is target else shutil.move(source, target),
        )


class PartWriter(Writer):
    """Stores what an attempt at a part says: its point. Whoever holds the whole run renews that lease as well."""

    def __init__(self, part: RunPart, holder: Run | None) -> None:
        super().__init__(part)
        self.part, self.holder = part, holder

    def renew(self, news: dict[str, Any]) -> Stop | None:
        stop: Stop | None = None
        if self.holder:  # whose steps are not how far the run is
            stop = services.run_heartbeat(self.holder, **news | {"training": None})
        return stop or services.part_heartbeat(self.part)

    def record(self, values: list[dict[str, Any]]) -> None:
        services.part_record_values(self.part, values)

    def finish_point(self, point: PointEvent, metrics: list[dict[str, Any]]) -> None:
        if (point.key, point.seed) == (self.part.key, self.part.seed):
            services.part_finish_point(self.part, metrics=metrics)
