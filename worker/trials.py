"""Trainings on the facts at many settings, packed where that is quicker: one training a point of the run.

For labs that compare each method at its own best learning rate. What diverges is told as such and has no loss.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peft import PeftModel
from transformers import PreTrainedModel

from worker.context import Point, RunContext
from worker.training.config import WARMUP_STEPS, TrainingConfig
from worker.training.examples import FactExamples
from worker.training.loss import evaluate
from worker.training.packed import Configuration, Trained
from worker.training.sweep import Method, calibrate, train_configurations

# Trained together. More are hardly quicker on a CPU, hold more memory, and are lost together when a run is killed.
PACK = 6

Examine = Callable[[Point, Trained, PeftModel], object]


@dataclass(frozen=True)
class Trial:
    """One training: where its results go, and what is trained."""

    point: Point
    configuration: Configuration


def training_config(
    *, steps: int, batch_size: int, rate: float, seed: int, lora_plus_ratio: float = 1.0, max_grad_norm: float = 1.0
) -> TrainingConfig:
    """A constant rate after a short warm-up, as all trials have it."""
    return TrainingConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=rate,
        seed=seed,
        warmup_steps=min(WARMUP_STEPS, steps),
        lora_plus_ratio=lora_plus_ratio,
        max_grad_norm=max_grad_norm,
    )


def run_trials(
    lab: RunContext, model: PreTrainedModel, examples: FactExamples, trials: Sequence[Trial], examine: Examine
) -> None:
    """Train all that are due, and log `loss`, `diverged` and `validation_loss` of each.

    `examine` is called for each that did not diverge, with the adapter in the model. Packed or one by one is decided
    once, by a few steps of the first pack.
    """
    due = [trial for trial in trials if trial.point.is_due]
    method: Method | None = None
    for start in range(0, len(due), PACK):
        pack = due[start : start + PACK]
        lab.progress(len(trials) - len(due) + start, len(trials), pack[0].point.key)
        method = method or _choose(model, examples, pack)
        _run_pack(model, examples, pack, method, examine)


def _choose(model: PreTrainedModel, examples: FactExamples, pack: Sequence[Trial]) -> Method:
    if len(pack) == 1:
        return "one-by-one"
    return calibrate(model, examples.training, [trial.configuration for trial in pack]).method


def _run_pack(
    model: PreTrainedModel, examples: FactExamples, pack: Sequence[Trial], method: Method, examine: Examine
) -> None:
    def hear(i: int, step: int, loss: float) -> None:
        pack[i].point.log("loss", loss, step=step)

    configurations = [trial.configuration for trial in pack]
    for i, trained, adapted in train_configurations(model, examples.training, configurations, hear, method):
        with pack[i].point as point:
            if log_outcome(point, model, examples, is_trained=not trained.diverged):
                examine(point, trained, adapted)


def log_outcome(point: Point, model: PreTrainedModel, examples: FactExamples, *, is_trained: bool) -> bool:
    """Log the loss of what is in the model; returns whether there is one."""
    loss = evaluate(model, examples.validation).loss if is_trained else math.nan
    point.log("diverged", int(not math.isfinite(loss)))  # the last update, too, may have broken the model
    if math.isfinite(loss):
        point.log("validation_loss", loss)
    return math.isfinite(loss)


def losses_by_rate(lab: RunContext, seed: int, rates: Sequence[float], **settings: object) -> dict[float, float]:
    """The validation loss at each rate that did not diverge, from the points with these settings; rates rising."""
    points = {rate: lab.point(seed=seed, rate=rate, **settings) for rate in sorted(rates)}
    return {rate: point.value("validation_loss") for rate, point in points.items() if not point.value("diverged")}


def log_best(point: Point, losses: dict[float, float]) -> float | None:
    """Log the rate with the lowest loss, and that loss; None, and `diverged`, when every rate diverged."""
    point.log("diverged", int(not losses))
    if not losses:
        return None
    best = min(losses, key=losses.__getitem__)
    point.log("best_rate", best)
    point.log("best_loss", losses[best])
    return best
