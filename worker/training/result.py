"""What a training gives besides the trained model."""

from dataclasses import dataclass, field

from worker.training.examples import Shape


@dataclass(frozen=True)
class TrainingResult:
    """One entry a step, unless said otherwise; what a resumed training did before is in it as well."""

    losses: list[float] = field(default_factory=list)  # mean loss per answer token of each step's batch
    seconds: list[float] = field(default_factory=list)  # wall time of each step
    gradient_norms: list[float] = field(default_factory=list)  # before clipping
    shapes: list[list[Shape]] = field(default_factory=list)  # of the parts of each step's batch
    evaluations: list[tuple[int, float]] = field(default_factory=list)  # (steps done, validation loss)

    @property
    def tokens(self) -> int:
        """All tokens trained on, without padding."""
        return sum(Shape(*shape).tokens for parts in self.shapes for shape in parts)

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / sum(self.seconds)

    def is_past_best(self, patience: int) -> bool:
        """Whether the last `patience` evaluations were all no better than one before."""
        losses = [loss for _, loss in self.evaluations]
        return 0 < patience < len(losses) and min(losses[-patience:]) >= min(losses[:-patience])
