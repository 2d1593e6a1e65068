"""The training loop that all labs share."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from worker.training.checkpoint import Checkpoints, TrainingState, digest, restore_checkpoint, save_checkpoint
from worker.training.config import TrainingConfig, data_order, learning_rate_factor
from worker.training.examples import Batch, Example, collate, collate_packed, in_batches
from worker.training.loss import Objective, answer_loss, evaluate
from worker.training.optimizer import make_optimizer
from worker.training.outcomes import Diverged
from worker.training.result import TrainingResult
from worker.training.watching import Step, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

OnStep = Callable[[int, float], object]


@dataclass(frozen=True)
class Validation:
    """Examples to evaluate while training; after `patience` evaluations without a new best the training ends."""

    examples: Sequence[Example]
    every_steps: int
    patience: int = 0  # 0: train to the end


def train(
    model: PreTrainedModel,
    examples: Sequence[Example],
    config: TrainingConfig,
    on_step: OnStep | None = None,
    *,
    objective: Objective = answer_loss,
    after_update: OnStep | None = None,
    validation: Validation | None = None,
    checkpoints: Checkpoints | None = None,
) -> TrainingResult:
    """Train whatever parameters require a gradient; Diverged when that fails.

    `on_step` hears of each step and its loss; `after_update` too, but while the step's gradients are still there
    (AdaLoRA needs them). With `checkpoints`, a training that was interrupted goes on where its newest checkpoint is,
    with the same losses as if nothing had happened; `on_step` hears of the steps before again, so that its curve is
    whole.
    """
    run = _start(model, config, objective, after_update)
    state = TrainingState(model, run.optimizer, run.scheduler, [run.result], identity(model, examples, config))
    if checkpoints:
        restore_checkpoint(checkpoints.folder, state)
    if on_step:
        for step, loss in enumerate(run.result.losses):
            on_step(step, loss)
    with training_mode(model, config):
        order = enumerate(data_order(len(examples), config))
        for step, indices in islice(order, state.steps_done, None):
            if validation and run.result.is_past_best(validation.patience):
                break
            _step(run, step, [examples[i] for i in indices])
            if validation and (step + 1) % validation.every_steps == 0:
                run.result.evaluations.append((step + 1, evaluate(model, validation.examples).loss))
            if checkpoints and (step + 1) % checkpoints.every_steps == 0:
                save_checkpoint(checkpoints.folder, state)
            if on_step:
                on_step(step, run.result.losses[-1])
            tell(_last_step(run.result, config))
    return run.result


def _last_step(result: TrainingResult, config: TrainingConfig) -> Step:
    tokens = sum(shape.tokens for shape in result.shapes[-1])
    return Step(len(result.losses), config.steps, result.losses[-1], tokens, result.seconds[-1])


@dataclass(frozen=True)
class _Run:
    """What a step needs."""

    model: PreTrainedModel
    config: TrainingConfig
    objective: Objective
    after_update: OnStep | None
    optimizer: torch.optim.Optimizer
    scheduler: LambdaLR
    result: TrainingResult


def _start(model: PreTrainedModel, config: TrainingConfig, objective: Objective, after_update: OnStep | None) -> _Run:
    optimizer = make_optimizer(model, config)
    scheduler = LambdaLR(optimizer, lambda step: learning_rate_factor(config, step))
    return _Run(model, config, objective, after_update, optimizer, scheduler, TrainingResult())


def _step(run: _Run, step: int, examples: Sequence[Example]) -> None:
    """One optimizer step on the mean loss per label of the examples."""
    started = time.perf_counter()
    batches = list(_parts(examples, run.config, str(run.model.device)))
    labels = sum(batch.shape.labels for batch in batches)
    loss = sum(_backward(run, batch, batch.shape.labels / labels) for batch in batches)
    norm = _clip(run.optimizer, run.config)
    check_loss(loss, norm, step, run.model.config.vocab_size)
    run.optimizer.step()
    if run.after_update:
        run.after_update(step, loss)
    run.optimizer.zero_grad()
    run.scheduler.step()
    run.result.losses.append(loss)
    run.result.gradient_norms.append(norm)
    run.result.shapes.append([batch.shape for batch in batches])
    run.result.seconds.append(time.perf_counter() - started)


def _backward(run: _Run, batch: Batch, share: float) -> float:
    """Add the gradient of a part of the step's batch; returns its share of the loss."""
    with torch.autocast(batch.tokens.device.type, torch.bfloat16, enabled=run.config.precision == "bfloat16"):
        part: Tensor = run.objective(run.model, batch) * share
    part.backward()
    return part.item()


def _parts(examples: Sequence[Example], config: TrainingConfig, device: str) -> "Iterator[Batch]":
    for part in in_batches(examples, config.batch_size // config.accumulation):
        yield collate_packed(part, config.packed_length, device) if config.packed_length else collate(part, device)


def check_loss(loss: float, gradient_norm: float, step: int, vocabulary: int) -> None:
    """Diverged unless loss and gradient are finite and the loss is below twice that of a uniform guess, ln V."""
    if not math.isfinite(loss):
        raise Diverged("loss not finite", step)
    if not math.isfinite(gradient_norm):
        raise Diverged("gradient not finite", step)
    if loss > 2 * math.log(vocabulary):
        raise Diverged("loss too high", step)


def _clip(optimizer: torch.optim.Optimizer, config: TrainingConfig) -> float:
    """Scale the gradient down to the norm allowed; returns the norm that it had."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return nn.utils.clip_grad_norm_(parameters, config.max_grad_norm).item()


@contextmanager
def training_mode(model: PreTrainedModel, config: TrainingConfig) -> "Iterator[None]":
    """Training mode, with gradient checkpointing where asked for; evaluation mode and none afterwards."""
    model.train()
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable()
    try:
        yield
    finally:
        if config.gradient_checkpointing:
            model.activation_checkpointing_disable()
            model.disable_input_require_grads()  # which enabling turned on
        model.eval()


def identity(model: nn.Module, examples: Sequence[Example], config: TrainingConfig) -> dict[str, object]:
    """What a checkpoint must agree with: the configuration, the data and what is trained."""
    trained = {name: list(p.shape) for name, p in model.named_parameters() if p.requires_grad}
    return {"config": asdict(config), "data": data_digest(examples), "trained": digest(trained)}


def data_digest(examples: Sequence[Example]) -> str:
    return digest([(example.tokens, example.answer_start) for example in examples])
