"""What decides a training run besides model and data, and what follows from it: rates and the order of the data."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

WARMUP_STEPS = 4


@dataclass(frozen=True)
class TrainingConfig:
    """All that decides a training run besides model and data."""

    steps: int
    batch_size: int  # examples a step
    learning_rate: float
    seed: int  # decides the order of the data
    schedule: Literal["constant", "linear", "cosine"] = "constant"  # after warm-up; both others end at zero
    warmup_steps: int = 0
    weight_decay: float = 0.0  # on matrices only, not on norms and biases
    max_grad_norm: float = 1.0
    lora_plus_ratio: float = 1.0  # B's learning rate over A's (LoRA+, Hayou et al. 2024, suggests 16)
    accumulation: int = 1  # a step's batch is computed in so many parts: less memory, the same gradient
    packed_length: int = 0  # rows of up to so many tokens hold several examples; 0: a row an example, padded
    precision: Literal["float32", "bfloat16"] = "float32"  # of autocast; no float16, which would need loss scaling
    gradient_checkpointing: bool = False  # compute activations again in the backward pass instead of keeping them

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "learning_rate", "max_grad_norm", "lora_plus_ratio", "accumulation"):
            if getattr(self, name) <= 0:
                raise ValueError(f"Invalid {name}: {getattr(self, name)} (must be above 0)")
        if not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(f"Invalid warmup_steps: {self.warmup_steps} (0 to {self.steps})")
        if self.batch_size % self.accumulation:
            raise ValueError(f"Invalid accumulation: {self.accumulation} (does not divide {self.batch_size})")


class TrainingParameters(Protocol):
    """What the parameters of most labs have (labs.shared)."""

    @property
    def steps(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...


def usual_config(params: TrainingParameters, seed: int, *, steps: int | None = None) -> TrainingConfig:
    """What labs.shared.LearningRate promises: a constant rate after four steps of warm-up."""
    steps = params.steps if steps is None else steps
    return TrainingConfig(steps, params.batch_size, params.learning_rate, seed, warmup_steps=min(WARMUP_STEPS, steps))


def learning_rate_factor(config: TrainingConfig, step: int) -> float:
    """What the learning rate is multiplied by in `step` (from 0)."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    left = (config.steps - step) / (config.steps - config.warmup_steps) if step < config.steps else 0.0
    return left if config.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * left))


def data_order(count: int, config: TrainingConfig) -> Iterator[list[int]]:
    """The examples of each step: every epoch is a new permutation, and batches run across epochs."""
    rng = random.Random(config.seed)  # noqa: S311 (an order, not a secret)
    queue: list[int] = []
    for _ in range(config.steps):
        while len(queue) < config.batch_size:
            queue += rng.sample(range(count), count)
        yield queue[: config.batch_size]
        del queue[: config.batch_size]
