"""What a run's child process is told and what it says: one job in, one event a line out, all JSON.

Imports no torch: the supervising process validates every event with these classes.
"""

import hashlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter

Name = Annotated[str, Field(min_length=1, max_length=100)]
# A plain file name with a suffix that is safe to keep and to serve: no folder, no "..", nothing hidden.
ArtifactName = Annotated[
    str, Field(max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.(json|csv|safetensors|svg|png|md|zip)$")
]
Key = Annotated[str, Field(max_length=200)]  # see labs.points
# A message to the reader, see labs.reasons.
Code = Annotated[str, Field(max_length=40)]
Arguments = dict[str, Annotated[str, Field(max_length=2000)] | int | FiniteFloat]


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Value(Message):
    """One value of a metric; a value with a step belongs to a curve."""

    name: Name
    step: Annotated[int, Field(ge=0)] | None = None
    value: FiniteFloat


class PointName(Message):
    """One point and seed."""

    key: Key
    seed: int

    @property
    def folder(self) -> str:
        """Name of the folder for its checkpoints."""
        return hashlib.sha256(f"{self.key} {self.seed}".encode()).hexdigest()[:24]


class FinishedPoint(PointName):
    """All values of one point and seed."""

    metrics: list[Value]


class Job(Message):
    """What to run. `finished` holds the points that are not computed again, because an earlier attempt or another
    worker did; `left_out` those that cannot be computed. With `only`, that point is computed and no other."""

    lab: Name
    params: dict[str, Any]
    seeds: Annotated[list[int], Field(min_length=1)]
    scratch: str  # an existing folder for files of this run
    models_dir: str
    checkpoints: str = ""  # a folder that outlives the attempt; without one they are in the scratch folder
    finished: list[FinishedPoint] = []
    left_out: list[PointName] = []
    only: PointName | None = None
    memory_limit_mb: Annotated[int, Field(gt=0)] | None = None
    file_limit_mb: Annotated[int, Field(gt=0)] | None = None
    gpu_memory_percent: Annotated[int, Field(gt=0, le=100)] = 100


class EnvironmentEvent(Message):
    """Versions, hardware, source revision and digests, before anything is computed."""

    event: Literal["environment"] = "environment"
    environment: dict[str, Any]


class ProgressEvent(Message):
    event: Literal["progress"] = "progress"
    done: Annotated[int, Field(ge=0)]
    total: Annotated[int, Field(ge=1)]
    code: Code = ""
    args: Arguments = {}


class StepEvent(Message):
    """A training under way, now and then."""

    event: Literal["step"] = "step"
    step: Annotated[int, Field(ge=1)]  # steps done
    steps: Annotated[int, Field(ge=1)]  # of this training
    loss: FiniteFloat
    tokens_per_second: Annotated[FiniteFloat, Field(ge=0)]  # without padding


class MetricEvent(Message):
    """A curve value of a point under way, to be watched; the point event repeats it."""

    event: Literal["metric"] = "metric"
    key: Key
    seed: int
    name: Name
    step: Annotated[int, Field(ge=0)]
    value: FiniteFloat


class PointEvent(FinishedPoint):
    """A finished point, once, with all its values: to be stored together."""

    event: Literal["point"] = "point"


class ArtifactEvent(Message):
    """A file of the run, at `path` inside its scratch folder."""

    event: Literal["artifact"] = "artifact"
    name: ArtifactName
    path: str


class FailedEvent(Message):
    """The run cannot succeed: why, and for the log where it happened."""

    event: Literal["failed"] = "failed"
    code: Code
    args: Arguments = {}
    traceback: str = ""
    memory: Annotated[int, Field(ge=0)] = 0  # bytes held when it failed, which no look from outside need have seen


class DoneEvent(Message):
    event: Literal["done"] = "done"
    durations: dict[str, FiniteFloat]  # in seconds


Event = (
    EnvironmentEvent | ProgressEvent | StepEvent | MetricEvent | PointEvent | ArtifactEvent | FailedEvent | DoneEvent
)
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
