"""Run a lab without broker and database, and make the record of it."""

import shlex
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from labs.catalog import get_lab
from labs.reasons import message
from labs.records import ArtifactRecord, MetricRecord, RunRecord, run_lab_arguments, seal, summarise
from labs.services import Request
from worker.models.store import sha256
from worker.protocol import ArtifactEvent, DoneEvent, EnvironmentEvent, Event, Job, PointEvent, ProgressEvent
from worker.supervise import Limits, Outcome, supervise


class RunFailed(RuntimeError):
    """The run did not succeed; the message says why and what to change."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.reason)


class Recorder:
    """Gathers the events of a run."""

    def __init__(self, on_progress: Callable[[str], None], keep: Path | None = None) -> None:
        self.points: list[PointEvent] = []
        self.artifacts: list[ArtifactRecord] = []
        self.environment: dict[str, Any] = {}
        self.durations: dict[str, float] = {}
        self._on_progress = on_progress
        self._keep = keep

    def write(self, event: Event) -> None:
        match event:
            case EnvironmentEvent():
                self.environment = event.environment
            case ProgressEvent():
                self._on_progress(f"[{event.done}/{event.total}] {message(event.code, event.args)}".rstrip())
            case PointEvent():
                self.points.append(event)
            case ArtifactEvent():
                path = Path(event.path)
                size, digest = path.stat().st_size, sha256(path)
                self.artifacts.append(ArtifactRecord(name=event.name, bytes=size, sha256=digest))
                if self._keep:
                    self._keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, self._keep / event.name)
            case DoneEvent():
                self.durations = event.durations


def record_run(request: Request, on_progress: Callable[[str], None], keep: Path | None = None) -> RunRecord:
    """The sealed record of a run of that request; RunFailed when there is none. The run's files go to `keep`."""
    recorder = Recorder(on_progress, keep)
    with tempfile.TemporaryDirectory(prefix="proofdeck-") as scratch:
        job = Job(
            lab=request.lab.slug,
            params=request.params,
            seeds=request.seeds,
            scratch=scratch,
            models_dir=str(settings.MODELS_DIR),
        )
        outcome = supervise(
            job,
            on_event=recorder.write,
            on_pulse=lambda _: None,
            limits=Limits(
                settings.RUN_TIME_LIMIT,
                settings.RUN_MEMORY_LIMIT_MB,
                settings.RUN_DISK_LIMIT_MB,
                settings.RUN_GPU_MEMORY_PERCENT,
            ),
        )
    if outcome.status != "succeeded":
        raise RunFailed(outcome)
    return _record(request, recorder)


def _record(request: Request, recorder: Recorder) -> RunRecord:
    lab = get_lab(request.lab.slug)
    metrics = [
        MetricRecord(
            name=value.name,
            unit=lab.metric(value.name).unit,
            point=point.key,
            seed=point.seed,
            step=value.step,
            value=value.value,
        )
        for point in recorder.points
        for value in point.metrics
    ]
    record = RunRecord(
        lab=lab.slug,
        lab_version=lab.version,
        params=request.params,
        preset=request.preset,
        seeds=request.seeds,
        metrics=metrics,
        summary=summarise(lab, metrics),
        environment=recorder.environment,
        durations=recorder.durations,
        artifacts=recorder.artifacts,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_line(request),
    )
    return seal(record)


def command_line(request: Request) -> str:
    """What to type to run it again."""
    return shlex.join(["python", *run_lab_arguments(request.lab.slug, request.preset, request.params, request.seeds)])
