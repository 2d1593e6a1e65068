"""Whether the adapters that a run kept give, in a fresh process, the losses that its record has."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from labs.records import EvidenceError, RunRecord
from worker.keeping import unpack
from worker.models.store import sha256

TOLERANCE = 1e-4  # nats per answer token: float32 in another order of summation


@dataclass(frozen=True)
class Recheck:
    """One adapter: the loss in the record, and that of the loaded adapter."""

    lab: str
    file: str
    point: str
    seed: int
    metric: str
    recorded: float
    loaded: float

    @property
    def agrees(self) -> bool:
        return abs(self.loaded - self.recorded) <= TOLERANCE

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "difference": self.loaded - self.recorded, "agrees": self.agrees}


def recheck(record: RunRecord, folder: Path) -> list[Recheck]:
    """All adapters of the run, whose files are in the folder; EvidenceError for a file that is not the run's."""
    names = [artifact.name for artifact in record.artifacts if artifact.name.endswith(".zip")]
    if not names:
        return []
    for artifact in record.artifacts:
        if artifact.name in names and sha256(folder / artifact.name) != artifact.sha256:
            raise EvidenceError(f"{artifact.name} is not the file that this run kept: its SHA-256 is another")
    command = [sys.executable, "-m", "worker.reload", "--models", str(settings.MODELS_DIR)]
    command += [str((folder / name).resolve()) for name in names]
    found = subprocess.run(command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, text=True, check=True)
    return list(_compare(record, folder, json.loads(found.stdout)))


def _compare(record: RunRecord, folder: Path, losses: dict[str, float]) -> Iterator[Recheck]:
    recorded = {(m.name, m.point, m.seed): m.value for m in record.metrics if m.step is None}
    for name, loaded in losses.items():
        with tempfile.TemporaryDirectory() as scratch:
            measured = unpack(folder / name, Path(scratch))
        value = recorded[measured.metric, measured.point, measured.seed]
        yield Recheck(record.lab, name, measured.point, measured.seed, measured.metric, value, loaded)
