"""The same data by several methods, until the loss on held-out phrasings has come down to a target."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from labs.catalog.convergence import METHODS, ConvergenceParameters, Method
from labs.catalog.lora_ga import LoraGaParameters
from worker.context import Point, RunContext
from worker.experiments import lora_ga
from worker.training.config import WARMUP_STEPS, TrainingConfig, data_order
from worker.training.cost import Flops, measure_flops, total_flops
from worker.training.examples import FactExamples, encode_facts, padded_shape
from worker.training.loop import Validation, train
from worker.training.loss import evaluate
from worker.training.outcomes import Diverged
from worker.training.result import TrainingResult

EVERY_STEPS = 4  # between two evaluations; the declaration promises it
FULL_RATIO = 0.1  # the rate of full fine-tuning over that of an adapter
RATIOS = ("steps", "flops", "seconds")


@dataclass(frozen=True)
class Comparison:
    """What all methods share."""

    params: ConvergenceParameters
    lab: RunContext
    examples: FactExamples
    base_loss: float


@dataclass(frozen=True)
class Setup:
    """A model ready to be trained by a method, and what it cost to make it so."""

    model: PreTrainedModel
    seconds: float
    flops: float  # of gradients; decompositions are in the seconds only


def run(params: ConvergenceParameters, lab: RunContext) -> None:
    methods = sorted(params.methods, key=list(METHODS).index)  # LoRA first: others are compared with it
    points = [(seed, method) for seed in lab.seeds for method in methods]
    if all(lab.point(seed=seed, method=method).is_finished for seed, method in points):
        return
    examples = encode_facts(lab.data("facts"), lab.tokenizer(params.model))
    base_loss = evaluate(lab.model(params.model), examples.validation).loss
    comparison = Comparison(params, lab, examples, base_loss)
    for done, (seed, method) in enumerate(points):
        lab.progress(done, len(points), METHODS[method])
        with lab.point(seed=seed, method=method) as point:
            if not point.is_finished:
                measure(comparison, point, method)
    lab.progress(len(points), len(points))


# --- the methods ------------------------------------------------------------------------------------------------------


def prepare(comparison: Comparison, method: Method, seed: int) -> Setup:
    """A fresh base with what the method trains."""
    params = comparison.params
    model = comparison.lab.model(params.model)
    # Counted before the clock starts: counting is no part of the method.
    flops = gradient_flops(comparison, model, seed) if method == "lora-ga" else 0.0
    started = time.perf_counter()
    torch.manual_seed(seed)
    if method == "full":
        model.requires_grad_(True)
    elif method == "lora-ga":
        own = gradient_parameters(params)
        gradients = lora_ga.weight_gradients(model, own, comparison.examples, seed)
        lora_ga.add_started_adapter(model, own, "peft", gradients, seed)
    else:
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=params.rank,
            lora_alpha=2 * params.rank,
            target_modules="all-linear",
            # Exact decompositions of all matrices would take longer than the training; PEFT recommends this one too.
            init_lora_weights="pissa_niter_4" if method == "pissa" else True,  # type: ignore[arg-type]
        )
        get_peft_model(model, config)
    return Setup(model, time.perf_counter() - started, flops)


def gradient_parameters(params: ConvergenceParameters) -> LoraGaParameters:
    """Of the lab on LoRA-GA, whose start is used here."""
    return LoraGaParameters(
        model=params.model, rank=params.rank, alpha=2 * params.rank, batch_size=params.batch_size, starts=["peft"]
    )


def gradient_flops(comparison: Comparison, model: PreTrainedModel, seed: int) -> float:
    """Of the passes that LoRA-GA's gradient takes, with those of all linear layers; the model is as before."""
    model.requires_grad_(False)
    for _, module in lora_ga.linear_layers(model):
        module.requires_grad_(True)
    params, examples = comparison.params, comparison.examples.training
    config = training_config(params, "lora-ga", seed, 1.0, gradient_parameters(params).gradient_batches)
    shapes = [[padded_shape([examples[i] for i in rows])] for rows in data_order(len(examples), config)]
    flops = total_flops(measure_flops(model), shapes)
    model.requires_grad_(True)
    return flops


def training_config(
    params: ConvergenceParameters, method: Method, seed: int, rate: float, steps: int
) -> TrainingConfig:
    return TrainingConfig(
        steps=steps,
        batch_size=params.batch_size,
        learning_rate=rate * (FULL_RATIO if method == "full" else 1),
        seed=seed,
        warmup_steps=min(WARMUP_STEPS, steps),
    )


# --- one method -------------------------------------------------------------------------------------------------------


def measure(comparison: Comparison, point: Point, method: Method) -> None:
    """Train at every rate, then take over what the best one gave, and compare it with LoRA."""
    params, lab, seed = comparison.params, comparison.lab, point.seed
    trained = {rate: lab.point(seed=seed, method=method, rate=rate) for rate in params.learning_rates}
    for rate, at_rate in trained.items():
        with at_rate:
            if not at_rate.is_finished:
                train_at(comparison, at_rate, method, rate)
    best = best_rate(trained)
    if best is None:
        point.log("diverged", 1)
        point.log("reached", 0)
        return
    point.log("best_rate", best)
    point.values += [value for value in trained[best].values if value.step is None]
    log_moments(comparison, point, method, best)
    log_ratios(comparison, point, method)


def train_at(comparison: Comparison, point: Point, method: Method, rate: float) -> None:
    """To diverge and never to reach the target are outcomes that the point tells."""
    params, examples = comparison.params, comparison.examples
    setup = prepare(comparison, method, point.seed)
    config = training_config(params, method, point.seed, rate, params.steps)
    validation = Validation(examples.validation, EVERY_STEPS)
    try:
        result = train(
            setup.model,
            examples.training,
            config,
            lambda step, loss: point.log("loss", loss, step=step),
            validation=validation,
        )
    except Diverged:
        point.log("diverged", 1)
        point.log("reached", 0)
        return
    point.log("diverged", 0)
    for step, loss in result.evaluations:
        with comparison.lab.point(seed=point.seed, method=method, rate=rate, step=step) as moment:
            if not moment.is_finished:
                moment.log("moment_loss", loss)
    point.log("final_loss", result.evaluations[-1][1])
    log_costs(point, setup, result, measure_flops(setup.model))
    log_target(comparison, point, setup, result)


def log_costs(point: Point, setup: Setup, result: TrainingResult, flops: Flops) -> None:
    point.log("setup_seconds", setup.seconds)
    point.log("step_seconds", statistics.median(result.seconds))
    point.log("step_flops", total_flops(flops, result.shapes) / len(result.shapes))


def log_target(comparison: Comparison, point: Point, setup: Setup, result: TrainingResult) -> None:
    """The four clocks, where they stopped."""
    steps = steps_to([(0, comparison.base_loss), *result.evaluations], comparison.params.target_loss)
    point.log("reached", 0 if steps is None else 1)
    if steps is None:
        return
    point.log("steps_to_target", steps)
    point.log("tokens_to_target", result.tokens / len(result.shapes) * steps)
    point.log("flops_to_target", setup.flops + point.value("step_flops") * steps)
    point.log("seconds_to_target", setup.seconds + point.value("step_seconds") * steps)


def steps_to(curve: Sequence[tuple[int, float]], target: float) -> float | None:
    """Where the curve first comes down to the target, on straight lines between its points; None: nowhere."""
    if curve[0][1] <= target:
        return float(curve[0][0])
    for (step, loss), (next_step, next_loss) in pairwise(curve):
        if next_loss <= target:
            return step + (next_step - step) * (loss - target) / (loss - next_loss)
    return None


# --- the best rate ----------------------------------------------------------------------------------------------------


def best_rate(trained: dict[float, Point]) -> float | None:
    """That of the fewest steps to the target; if none reaches it, of the lowest loss; None if all diverged."""
    reached = {rate: point.value("steps_to_target") for rate, point in trained.items() if point.value("reached")}
    ended = {rate: point.value("final_loss") for rate, point in trained.items() if not point.value("diverged")}
    found = reached or ended
    return min(found, key=found.__getitem__) if found else None


def log_moments(comparison: Comparison, point: Point, method: Method, best: float) -> None:
    """The curve of the best rate."""
    lab, seed = comparison.lab, point.seed
    for step in range(EVERY_STEPS, comparison.params.steps + 1, EVERY_STEPS):
        with lab.point(seed=seed, method=method, step=step) as moment:
            if not moment.is_finished:
                trained = lab.point(seed=seed, method=method, rate=best, step=step)
                moment.log("best_moment_loss", trained.value("moment_loss"))


def log_ratios(comparison: Comparison, point: Point, method: Method) -> None:
    """Against LoRA, where both reached the target."""
    if method == "lora" or "lora" not in comparison.params.methods:
        return
    default = comparison.lab.point(seed=point.seed, method="lora")
    if default.value("reached") and point.value("reached"):
        for clock in RATIOS:
            name = f"{clock}_to_target"
            point.log(f"{clock}_ratio", default.value(name) / point.value(name))
