"""What an experiment sees of its run: the `lab` of `run(params, lab)`."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pydantic import ValidationError

from kb.text import Text
from labs.declaration import Lab
from labs.points import point_key
from labs.reasons import own
from worker.models.store import prepare
from worker.protocol import (
    ArtifactEvent,
    Event,
    FinishedPoint,
    Job,
    MetricEvent,
    PointEvent,
    PointName,
    ProgressEvent,
    Value,
)
from worker.training.outcomes import Diverged

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from worker.data.facts import Fact


class NotFinite(ArithmeticError):
    """A metric came out as nan or infinity: training diverged. `details` are the arguments of the reason."""

    def __init__(self, **details: str) -> None:
        self.details = details
        super().__init__("{metric} at {point} ({where}) was {value}".format(**details))


class BadArtifact(ValueError):
    """A file outside the scratch folder, or a name that is not a plain file name with an allowed suffix."""


class LeftOut(LookupError):
    """A point needs the value of another that could not be computed."""


class Point:
    """One point of a sweep for one seed. Its values are handed over together when the `with` block ends well.

    A point of an earlier attempt `is_finished`; its values can be read, so that derived metrics survive a restart. One
    that is to be computed here and now `is_due`: not finished, not another worker's, not one that cannot be computed.
    """

    def __init__(self, name: PointName, lab: "RunContext", earlier: FinishedPoint | None, *, is_wanted: bool) -> None:
        self.key, self.seed, self.name = name.key, name.seed, name
        self.is_finished = earlier is not None
        self.is_wanted = is_wanted
        self.values: list[Value] = list(earlier.metrics) if earlier else []
        self._lab = lab

    @property
    def is_due(self) -> bool:
        return self.is_wanted and not self.is_finished

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if isinstance(error, Diverged):
            error.point = f"{self.key or 'base'} (seed {self.seed})"
        if kind is None and self.is_due:
            self.is_finished = True
            self._lab.finish(PointEvent(key=self.key, seed=self.seed, metrics=self.values))
        if isinstance(error, LeftOut):
            self._lab.left_out.append(self.name)
            return True
        return False

    def log(self, name: str, value: float, step: int | None = None) -> None:
        """Record a declared metric; NotFinite for nan and infinity."""
        self._lab.declaration.metric(name)
        if not math.isfinite(value):
            where = f"seed {self.seed}" + ("" if step is None else f", step {step}")
            raise NotFinite(metric=name, point=self.key or "base", where=where, value=str(value))
        self.values.append(Value(name=name, step=step, value=value))
        if step is not None and self.is_due:
            self._lab.emit(MetricEvent(key=self.key, seed=self.seed, name=name, step=step, value=value))

    def copy_from(self, other: "Point") -> None:
        """Take over the values of a point with the same configuration under another name."""
        other.check_not_left_out()
        self.values.extend(other.values)

    def value(self, name: str) -> float:
        """The result of that name, from this attempt or an earlier one; KeyError when there is none.

        Of a point that could not be computed: LeftOut, which ends the `with` block of the point that asks.
        """
        self.check_not_left_out()
        for value in self.values:
            if value.name == name and value.step is None:
                return value.value
        raise KeyError(f"Point {self.key!r} has no result {name!r}")

    def check_not_left_out(self) -> None:
        if not self.is_wanted and not self.is_finished:
            raise LeftOut(f"Point {self.key!r} was not computed")


def compute_once(
    points: Sequence[Point],
    compute: Callable[[Point], object],
    repeat: Callable[[Point, Point], object] = Point.copy_from,
) -> None:
    """Compute the first of points that have the same values, such as seeds that change nothing, and repeat it."""
    first, *others = points
    with first:
        if first.is_due:
            compute(first)
    for other in others:
        with other:
            if other.is_due:
                repeat(other, first)


class RunContext:
    """Seeds, points, progress, files, models and data of one run."""

    def __init__(self, job: Job, declaration: Lab, emit: Callable[[Event], None], device: str) -> None:
        self.declaration = declaration
        self.seeds = tuple(job.seeds)
        self.scratch = Path(job.scratch)
        self.models_dir = Path(job.models_dir)
        self.device = device
        self.emit = emit
        self.left_out = list(job.left_out)
        self._job = job
        self._finished: dict[tuple[str, int], FinishedPoint] = {(p.key, p.seed): p for p in job.finished}

    def point(self, *, seed: int, **settings: object) -> Point:
        """The point of these settings, to be used in a `with` block."""
        name = PointName(key=point_key(**settings), seed=seed)
        is_wanted = self._job.only in (None, name) and name not in self.left_out
        return Point(name, self, self._finished.get((name.key, seed)), is_wanted=is_wanted)

    def checkpoints(self, point: Point) -> Path:
        """Where to keep the state of that point's training: what is there, an earlier attempt left.

        It counts as the run's files do, and is cleared away when the point is finished.
        """
        return Path(self._job.checkpoints or self.scratch / "checkpoints") / point.name.folder

    def finish(self, point: PointEvent) -> None:
        """Hand over a point; from now on `point` gives it as finished."""
        self._finished[point.key, point.seed] = point
        self.emit(point)

    def progress(self, done: int, total: int, note: Text | str = "") -> None:
        """How far it is. A note that is not the same in all languages comes as a `Text`."""
        code, args = own(note)
        self.emit(ProgressEvent(done=done, total=total, code=code, args=args))

    def artifact(self, name: str, path: Path) -> None:
        """Keep a file of the scratch folder under a plain name (worker.protocol says which names are allowed).

        Files are the run's and not a point's: where points are shared out, whoever gathers them keeps the files.
        """
        resolved = path.resolve()
        if not resolved.is_relative_to(self.scratch.resolve()) or not resolved.is_file():
            raise BadArtifact(name)
        try:
            event = ArtifactEvent(name=name, path=str(resolved))
        except ValidationError as error:
            raise BadArtifact(name) from error
        if self._job.only is None:
            self.emit(event)

    def model(self, name: str, dtype: "torch.dtype | None" = None) -> "PreTrainedModel":
        """A language model of the store on the run's device, in float32 unless told otherwise."""
        import torch

        from worker.models.load import load_causal_lm

        self._prepare(name)
        return load_causal_lm(name, dtype=dtype or torch.float32, device=self.device, cache_dir=self.models_dir)

    def encoder(self, name: str) -> "PreTrainedModel":
        """A model of the store without an output layer, in float32: what it gives are hidden states."""
        from worker.models.load import load_encoder

        self._prepare(name)
        return load_encoder(name, device=self.device, cache_dir=self.models_dir)

    def weights(self, name: str) -> "dict[str, torch.Tensor]":
        """The stored tensors of a model by name, on the CPU and in their own number format."""
        from worker.models.load import load_weights

        self._prepare(name)
        return load_weights(name, cache_dir=self.models_dir)

    def tokenizer(self, name: str) -> "PreTrainedTokenizerBase":
        from worker.models.load import load_tokenizer

        self._prepare(name)
        return load_tokenizer(name, cache_dir=self.models_dir)

    def data(self, name: str) -> "list[Fact]":
        """A data set by name; ValueError names those there are."""
        from worker.data.sets import load

        return load(name)

    def _prepare(self, name: str) -> None:
        prepare([name], self.models_dir, lambda note: self.progress(0, 1, note))
