"""Training and evaluation on answer tokens."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import PreTrainedModel

from worker.training.examples import IGNORED, Batch, Example, collate, in_batches

EVALUATION_BATCH = 16  # as fast as larger ones on a CPU, and small in memory


@dataclass(frozen=True)
class TrainingConfig:
    """All that decides a training run besides model and data."""

    steps: int
    batch_size: int
    learning_rate: float
    seed: int  # decides the order of the data
    schedule: Literal["constant", "linear"] = "constant"  # after warm-up; linear falls to zero at the last step
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "learning_rate", "max_grad_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"Invalid {name}: {getattr(self, name)} (must be above 0)")
        if not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(f"Invalid warmup_steps: {self.warmup_steps} (0 to {self.steps})")


@dataclass(frozen=True)
class TrainingResult:
    losses: list[float]  # mean loss per answer token of each step's batch
    seconds: list[float]  # wall time of each step


@dataclass(frozen=True)
class Evaluation:
    loss: float  # mean over all answer tokens, in nats
    tokens: int


def learning_rate_factor(config: TrainingConfig, step: int) -> float:
    """What the learning rate is multiplied by in `step` (from 0)."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    return (config.steps - step) / (config.steps - config.warmup_steps)


def data_order(count: int, config: TrainingConfig) -> Iterator[list[int]]:
    """The examples of each step: every epoch is a new permutation, and batches run across epochs."""
    rng = random.Random(config.seed)  # noqa: S311 (an order, not a secret)
    queue: list[int] = []
    for _ in range(config.steps):
        while len(queue) < config.batch_size:
            queue += rng.sample(range(count), count)
        yield queue[: config.batch_size]
        del queue[: config.batch_size]


def answer_logits(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits at the label positions only, (N, V), and their labels, (N,).

    The output layer is the largest matrix of a small model: at 5 answer tokens of 24 it would cost five times as much
    on all positions. `model` is the causal model itself; PEFT adapters are inside it, in place.
    """
    decoder: nn.Module = getattr(model, model.base_model_prefix)
    hidden = decoder(input_ids=batch.tokens, use_cache=False).last_hidden_state  # (B, T, C)
    wanted = batch.labels != IGNORED  # (B, T)
    return model.get_output_embeddings()(hidden[wanted]), batch.labels[wanted]


def train(
    model: PreTrainedModel,
    examples: Sequence[Example],
    config: TrainingConfig,
    on_step: Callable[[int, float], None] | None = None,
) -> TrainingResult:
    """Train whatever parameters require a gradient; `on_step` hears of each step and its loss."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(config, step))
    result = TrainingResult([], [])
    model.train()
    for step, indices in enumerate(data_order(len(examples), config)):
        started = time.perf_counter()
        batch = collate([examples[i] for i in indices], str(model.device))
        loss = F.cross_entropy(*answer_logits(model, batch))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        result.losses.append(loss.item())
        result.seconds.append(time.perf_counter() - started)
        if on_step:
            on_step(step, loss.item())
    model.eval()
    return result


@torch.inference_mode()
def evaluate(model: PreTrainedModel, examples: Sequence[Example]) -> Evaluation:
    """Mean loss per answer token over all examples (not the mean of batch means)."""
    total, tokens = 0.0, 0
    # Rows of like length share a batch, so that little is spent on padding.
    for rows in in_batches(sorted(examples, key=lambda e: len(e.tokens)), EVALUATION_BATCH):
        logits, labels = answer_logits(model, collate(rows, str(model.device)))
        total += F.cross_entropy(logits, labels, reduction="sum").item()
        tokens += len(labels)
    return Evaluation(total / tokens, tokens)
