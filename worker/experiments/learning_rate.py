"""LoRA, LoRA+ and full fine-tuning, each on its own grid of learning rates."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from labs.catalog.learning_rate import LearningRateParameters, adapter_methods
from worker.adapters import Adapter
from worker.context import Point, RunContext
from worker.training.config import TrainingConfig
from worker.training.examples import FactExamples, encode_facts
from worker.training.loop import train
from worker.training.outcomes import Diverged
from worker.training.packed import Configuration
from worker.trials import Trial, log_best, log_outcome, losses_by_rate, run_trials, training_config


def run(params: LearningRateParameters, lab: RunContext) -> None:
    model = lab.model(params.model)
    examples = encode_facts(lab.data("facts"), lab.tokenizer(params.model))
    trials = [trial for seed in lab.seeds for trial in adapter_trials(params, lab, seed)]
    run_trials(lab, model, examples, trials, lambda *_: None)
    full = [(rate, lab.point(seed=seed, method="full", rate=rate)) for seed in lab.seeds for rate in params.full_rates]
    train_all_weights(params, lab, model, examples, [(rate, point) for rate, point in full if point.is_due])
    for seed in lab.seeds:
        for method in (*adapter_methods(params), "full"):
            log_method(params, lab, seed, method)
        log_comparison(params, lab, seed)
    lab.progress(1, 1)


def adapter_trials(params: LearningRateParameters, lab: RunContext, seed: int) -> list[Trial]:
    adapter = Adapter(params.rank, params.alpha, params.target_modules, seed)
    return [
        Trial(
            lab.point(seed=seed, method=method, rate=rate),
            Configuration(
                adapter,
                training_config(
                    steps=params.steps, batch_size=params.batch_size, rate=rate, seed=seed, lora_plus_ratio=ratio
                ),
            ),
        )
        for method, ratio in adapter_methods(params).items()
        for rate in params.rates
    ]


def train_all_weights(
    params: LearningRateParameters,
    lab: RunContext,
    model: PreTrainedModel,
    examples: FactExamples,
    due: Sequence[tuple[float, Point]],
) -> None:
    """Full fine-tuning at each point's rate, always from the same weights, which the model has afterwards."""
    if not due:
        return
    initial = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model.requires_grad_(True)
    for done, (rate, point) in enumerate(due):
        lab.progress(done, len(due), point.key)
        config = training_config(steps=params.steps, batch_size=params.batch_size, rate=rate, seed=point.seed)
        with point:
            is_trained = train_weights(model, examples, config, point)
            log_outcome(point, model, examples, is_trained=is_trained)
        put_back(model, initial)
    model.requires_grad_(False)


def train_weights(model: PreTrainedModel, examples: FactExamples, config: TrainingConfig, point: Point) -> bool:
    """Train what requires a gradient; returns whether that went well."""
    try:
        train(model, examples.training, config, lambda step, loss: point.log("loss", loss, step=step))
    except Diverged:
        return False
    return True


@torch.no_grad()
def put_back(model: PreTrainedModel, initial: Mapping[str, Tensor]) -> None:
    """The weights as they were, without gradients that a diverged training left."""
    for name, parameter in model.named_parameters():
        parameter.copy_(initial[name])
        parameter.grad = None


def log_method(params: LearningRateParameters, lab: RunContext, seed: int, method: str) -> None:
    """Best rate and optimum of a method, and what it gains over plain LoRA, which is logged first."""
    with lab.point(seed=seed, method=method) as point:
        if not point.is_due:
            return
        rates = params.full_rates if method == "full" else params.rates
        losses = losses_by_rate(lab, seed, rates, method=method)
        best = log_best(point, losses)
        if best is None:
            return
        is_at_edge = best in {min(rates), max(rates)}
        point.log("at_edge", int(is_at_edge))
        if not is_at_edge:
            point.log("optimum", optimum(losses))
        lora = lab.point(seed=seed, method="lora")
        if method != "lora" and not lora.value("diverged"):
            point.log("gain", lora.value("best_loss") - losses[best])


def optimum(losses: Mapping[float, float]) -> float:
    """The vertex of the parabola through the lowest loss and its neighbours over the logarithm of the rate.

    The best rate itself where it is the last one that could be trained: divergence bounds it then.
    """
    rates = sorted(losses)
    place = rates.index(min(losses, key=losses.__getitem__))
    if place in {0, len(rates) - 1}:
        return rates[place]
    (x0, y0), (x1, y1), (x2, y2) = ((math.log(rate), losses[rate]) for rate in rates[place - 1 : place + 2])
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)  # slopes: the first below zero, the second above
    if left == right:  # three equal losses
        return rates[place]
    # The slope changes linearly, from `left` in the middle of the first interval to `right` in that of the second.
    middle, other = (x0 + x1) / 2, (x1 + x2) / 2
    return math.exp(middle - left * (other - middle) / (right - left))


def log_comparison(params: LearningRateParameters, lab: RunContext, seed: int) -> None:
    """LoRA against full fine-tuning, as far as both could be trained."""
    with lab.point(seed=seed) as point:
        lora, full = (lab.point(seed=seed, method=method) for method in ("lora", "full"))
        if not point.is_due or lora.value("diverged") or full.value("diverged"):
            return
        rate = full.value("best_rate")
        point.log("rate_ratio", lora.value("best_rate") / rate)
        if not lora.value("at_edge") and not full.value("at_edge"):
            point.log("optimum_ratio", lora.value("optimum") / full.value("optimum"))
        losses = losses_by_rate(lab, seed, params.rates, method="lora")
        if rate in losses:
            point.log("borrowed_rate_cost", losses[rate] - lora.value("best_loss"))
