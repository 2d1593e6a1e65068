"""Adapters that start from the gradient's singular vectors against the default start, each at its best rate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraGAConfig, LoraLayer, preprocess_loraga
from peft.tuners.lora.loraga import get_target_modules
from torch import Tensor
from transformers import PreTrainedModel

from labs.catalog.lora_ga import STARTS, LoraGaParameters, Start
from labs.points import parse_point
from worker.context import Point, RunContext
from worker.experiments.merge_check import probe_logits
from worker.training.config import TrainingConfig, data_order
from worker.training.examples import FactExamples, collate, encode_facts
from worker.training.loop import Validation, train
from worker.training.loss import answer_loss, evaluate
from worker.training.outcomes import Diverged

MOMENTS = 4  # at which the loss is taken
WARMUP_STEPS = 2
PROBES = 8  # questions whose logits are compared at every position
ADAPTER = "default"

Gradients = Mapping[str, Tensor]  # of whole weight matrices (out, in), by the module's name


@dataclass(frozen=True)
class Comparison:
    """What all starts of one seed share."""

    params: LoraGaParameters
    lab: RunContext
    examples: FactExamples
    seed: int
    base_logits: Tensor  # (N, V)
    base_loss: float
    gradients: Gradients


def run(params: LoraGaParameters, lab: RunContext) -> None:
    starts = sorted(params.starts, key=list(STARTS).index)  # the default first: others are compared with it
    total = len(lab.seeds) * len(starts) * len(params.learning_rates)
    for i, seed in enumerate(lab.seeds):
        if all(lab.point(seed=seed, start=start).is_finished for start in starts):
            continue
        comparison = begin(params, lab, seed)
        for j, start in enumerate(starts):
            lab.progress((i * len(starts) + j) * len(params.learning_rates), total, STARTS[start])
            with lab.point(seed=seed, start=start) as point:
                if not point.is_finished:
                    measure(comparison, point, start)
    lab.progress(total, total)


def begin(params: LoraGaParameters, lab: RunContext, seed: int) -> Comparison:
    """The base, and its gradient on some batches."""
    model = lab.model(params.model)
    examples = encode_facts(lab.data("facts"), lab.tokenizer(params.model))
    loss = evaluate(model, examples.validation).loss
    with lab.point(seed=seed) as point:
        if not point.is_finished:
            point.log("base_validation_loss", loss)
    logits = probe_logits(model, examples.validation[:PROBES])
    gradients = weight_gradients(model, params, examples, seed)
    return Comparison(params, lab, examples, seed, logits, loss, gradients)


def weight_gradients(
    model: PreTrainedModel, params: LoraGaParameters, examples: FactExamples, seed: int
) -> dict[str, Tensor]:
    """The mean gradient of each adapted matrix, by PEFT's preparation, taken off the modules where it leaves them."""
    config = adapter_config(params, "peft")
    config.target_modules = [name for name, _ in linear_layers(model)]
    order = data_order(len(examples.training), training_config(params, seed, 1.0, steps=params.gradient_batches))

    def accumulate() -> None:
        for indices in order:
            batch = collate([examples.training[i] for i in indices], str(model.device))
            answer_loss(model, batch).backward()

    preprocess_loraga(model, config, accumulate)
    found: dict[str, Tensor] = {}
    for name, module in get_target_modules(model, config):
        found[name] = module._peft_loraga_grad
        del module._peft_loraga_grad
    return found


def linear_layers(model: PreTrainedModel) -> Iterator[tuple[str, torch.nn.Linear]]:
    """All but the output layer, which PEFT leaves out as well."""
    output = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module is not output:
            yield name, module


def adapter_config(params: LoraGaParameters, start: Start) -> LoraConfig:
    is_peft = start == "peft"
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=params.rank,
        lora_alpha=params.alpha,
        target_modules="all-linear",
        init_lora_weights="lora_ga" if is_peft else True,  # type: ignore[arg-type]
        lora_ga_config=LoraGAConfig(stable_gamma=params.gamma) if is_peft else None,
    )


def add_started_adapter(
    model: PreTrainedModel, params: LoraGaParameters, start: Start, gradients: Gradients, seed: int
) -> PeftModel:
    """Put an adapter with that start into the model, in place; LoRA-GA changes the base's weights as well."""
    torch.manual_seed(seed)
    if start == "peft":
        for name, module in linear_layers(model):
            module._peft_loraga_grad = gradients[name]
    adapted: PeftModel = get_peft_model(model, adapter_config(params, start))
    if start == "paper":
        for name, layer in adapted_layers(model).items():
            start_by_paper(layer, gradients[name], params)
    return adapted


@torch.no_grad()
def start_by_paper(layer: Any, gradient: Tensor, params: LoraGaParameters) -> None:
    """A from the first r right singular vectors, B from the next r left ones, both times ⁴√d_out / √γ; W − sBA.

    Wang et al. 2024, algorithm 1, and the authors' code (direction ArB2r, scale stable).
    """
    rank = params.rank
    left, _, right = torch.svd_lowrank(gradient, q=min(4 * rank, *gradient.shape), niter=4)
    scale = len(gradient) ** 0.25 / params.gamma**0.5
    a, b = right[:, :rank].T * scale, left[:, rank : 2 * rank] * scale
    layer.lora_A[ADAPTER].weight.copy_(a)
    layer.lora_B[ADAPTER].weight.copy_(b)
    layer.get_base_layer().weight.sub_(layer.scaling[ADAPTER] * b @ a)


def adapted_layers(model: PreTrainedModel) -> dict[str, Any]:
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def measure(comparison: Comparison, point: Point, start: Start) -> None:
    """One start: what it is before training, then every rate from the same start, then the best of them."""
    params, lab = comparison.params, comparison.lab
    model = lab.model(params.model)
    adapted = add_started_adapter(model, params, start, comparison.gradients, comparison.seed)
    log_start(comparison, point, model)
    initial = {name: p.detach().clone() for name, p in adapted.named_parameters() if p.requires_grad}
    for rate in params.learning_rates:
        with lab.point(seed=comparison.seed, start=start, rate=rate) as trained:
            if not trained.is_finished:
                put_back(adapted, initial)
                train_at(comparison, trained, model, start)
    log_best(comparison, point, start)


def log_start(comparison: Comparison, point: Point, model: PreTrainedModel) -> None:
    """The start against the base and against the gradient."""
    difference = probe_logits(model, comparison.examples.validation[:PROBES]) - comparison.base_logits
    point.log("initial_logit_difference", difference.abs().max().item())
    held, whole, offset, weight = (0.0, 0.0, 0.0, 0.0)
    for name, layer in adapted_layers(model).items():
        gradient = comparison.gradients[name]
        held += projected_energy(gradient, layer.lora_A[ADAPTER].weight.detach())
        whole += gradient.square().sum().item()
        update = layer.get_delta_weight(ADAPTER).detach()
        offset += update.square().sum().item()
        weight += (layer.get_base_layer().weight.detach() + update).square().sum().item()
    point.log("gradient_share", 100 * held / whole)
    point.log("offset_share", 100 * (offset / weight) ** 0.5)


def projected_energy(gradient: Tensor, a: Tensor) -> float:
    """‖G Q‖² for an orthonormal basis Q of A's row space."""
    basis, _ = torch.linalg.qr(a.T)  # (in, r)
    return (gradient @ basis).square().sum().item()


def put_back(adapted: PeftModel, initial: Mapping[str, Tensor]) -> None:
    """The adapter as it started, without gradients that a diverged training left."""
    for name, parameter in adapted.named_parameters():
        if name in initial:
            parameter.data.copy_(initial[name])
            parameter.grad = None


def training_config(params: LoraGaParameters, seed: int, rate: float, steps: int) -> TrainingConfig:
    return TrainingConfig(
        steps=steps,
        batch_size=params.batch_size,
        learning_rate=rate,
        seed=seed,
        warmup_steps=min(WARMUP_STEPS, steps),
    )


def train_at(comparison: Comparison, point: Point, model: PreTrainedModel, start: Start) -> None:
    """Train at the point's rate; to diverge is an outcome that the point tells."""
    params, lab = comparison.params, comparison.lab
    rate = float(parse_point(point.key)["rate"])
    config = training_config(params, comparison.seed, rate, params.steps)
    validation = Validation(comparison.examples.validation, params.steps // MOMENTS)
    try:
        result = train(
            model,
            comparison.examples.training,
            config,
            lambda step, loss: point.log("loss", loss, step=step),
            validation=validation,
        )
    except Diverged:
        point.log("diverged", 1)
        return
    point.log("diverged", 0)
    for step, loss in result.evaluations:
        with lab.point(seed=comparison.seed, start=start, rate=rate, step=step) as moment:
            if not moment.is_finished:
                moment.log("moment_loss", loss)
    point.log("validation_loss", result.evaluations[-1][1])


def log_best(comparison: Comparison, point: Point, start: Start) -> None:
    """The best rate and its losses; Diverged when there is no rate at which the start can be trained."""
    params, lab, seed = comparison.params, comparison.lab, comparison.seed
    points = {rate: lab.point(seed=seed, start=start, rate=rate) for rate in params.learning_rates}
    losses = {rate: p.value("validation_loss") for rate, p in points.items() if not p.value("diverged")}
    if not losses:
        raise Diverged("loss too high", params.steps)
    best = min(losses, key=losses.__getitem__)
    point.log("best_rate", best)
    for step in moments(params):
        with lab.point(seed=seed, start=start, step=step) as moment:
            if not moment.is_finished:
                trained = lab.point(seed=seed, start=start, rate=best, step=step)
                moment.log("best_moment_loss", trained.value("moment_loss"))
    if start != "kaiming" and "kaiming" in params.starts:
        default, own = best_curve(comparison, "kaiming"), best_curve(comparison, start)
        point.log("gain", default[-1][1] - own[-1][1])
        if has_learned(default) and has_learned(own):
            point.log("speedup", speedup(default, own))


def best_curve(comparison: Comparison, start: Start) -> list[tuple[int, float]]:
    """(step, loss) at the best rate, from the base on, which all starts equal."""
    lab, seed = comparison.lab, comparison.seed
    points = {step: lab.point(seed=seed, start=start, step=step) for step in moments(comparison.params)}
    return [(0, comparison.base_loss), *((step, p.value("best_moment_loss")) for step, p in points.items())]


def moments(params: LoraGaParameters) -> list[int]:
    """The steps after which the loss is taken."""
    every = params.steps // MOMENTS
    return list(range(every, params.steps + 1, every))


def has_learned(curve: Sequence[tuple[int, float]]) -> bool:
    """Whether the loss ever came below the base's."""
    return min(loss for _, loss in curve[1:]) < curve[0][1]


def speedup(default: Sequence[tuple[int, float]], other: Sequence[tuple[int, float]]) -> float:
    """Steps of the default over steps of the other one, to the lowest loss that both reach."""
    target = max(min(loss for _, loss in default), min(loss for _, loss in other))
    return steps_to(default, target) / steps_to(other, target)


def steps_to(curve: Sequence[tuple[int, float]], target: float) -> float:
    """Where the curve first comes down to the target, on straight lines between its points."""
    for (step, loss), (next_step, next_loss) in pairwise(curve):
        if next_loss <= target:
            return step + (next_step - step) * max(0.0, loss - target) / (loss - next_loss)
    raise ValueError(f"The loss never comes down to {target}")
