"""Singular vectors of trained weights that resemble none of the base's (Shuttleworth et al. 2024): count and scale."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from labs.catalog.intruder_dimensions import METHODS, IntruderDimensionsParameters, Method
from worker.adapters import Adapter, add_adapter
from worker.context import Point, RunContext
from worker.training.config import WARMUP_STEPS, TrainingConfig
from worker.training.examples import Example, FactExamples, encode_facts, encode_passages
from worker.training.loop import train
from worker.training.loss import evaluate
from worker.training.outcomes import Diverged

TRAINED = ("q_proj", "k_proj", "v_proj", "o_proj")
RANKS: dict[Method, int] = {"lora-1": 1, "lora-8": 8, "lora-64": 64}
FULL_RATIO = 0.1  # the rate of full fine-tuning over LoRA's


@dataclass(frozen=True)
class Comparison:
    """What all trainings share."""

    params: IntruderDimensionsParameters
    lab: RunContext
    examples: FactExamples
    prose: Sequence[Example]
    base: Mapping[str, Tensor]  # the matrices before training
    vectors: Mapping[str, Tensor]  # all their left singular vectors, as columns

    def losses(self, model: PreTrainedModel) -> dict[str, float]:
        task, prose = evaluate(model, self.examples.validation).loss, evaluate(model, self.prose).loss
        return {"validation_loss": task, "prose_loss": prose}


@dataclass(frozen=True)
class Directions:
    """The first left singular vectors of a trained matrix."""

    vectors: Tensor  # (out, k)
    cosines: Tensor  # (k,) of each the largest with a vector of the base

    def intruders(self, threshold: float) -> Tensor:
        """(out, n)"""
        return self.vectors[:, self.cosines < threshold]


def run(params: IntruderDimensionsParameters, lab: RunContext) -> None:
    points = [(seed, method, rate) for seed in lab.seeds for method in params.methods for rate in params.learning_rates]
    if all(lab.point(seed=seed, method=method, rate=rate).is_finished for seed, method, rate in points):
        return
    comparison = prepare(params, lab)
    for done, (seed, method, rate) in enumerate(points):
        lab.progress(done, len(points), METHODS[method])
        with lab.point(seed=seed, method=method, rate=rate) as point:
            if not point.is_finished:
                measure(comparison, point, method, rate)
    lab.progress(len(points), len(points))


def prepare(params: IntruderDimensionsParameters, lab: RunContext) -> Comparison:
    tokenizer, model = lab.tokenizer(params.model), lab.model(params.model)
    prose = encode_passages(lab.data("prose"), tokenizer)  # type: ignore[arg-type]
    base = {name: module.weight.detach() for name, module in projections(model)}
    vectors = {name: left_vectors(weight) for name, weight in base.items()}
    examples = encode_facts(lab.data("facts"), tokenizer)
    return Comparison(params, lab, examples, prose.validation[: params.held_out], base, vectors)


def projections(model: PreTrainedModel) -> Iterator[tuple[str, Any]]:
    """The matrices that every method trains; with an adapter, the layers that hold it."""
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in TRAINED:
            yield name, module


# --- linear algebra ---------------------------------------------------------------------------------------------------


def left_vectors(weight: Tensor) -> Tensor:
    """(out, out), those of the largest singular values first.

    As eigenvectors of W Wᵀ, in half the time of a singular value decomposition; in float64, because values are squared.
    """
    wide = weight.double()
    return torch.linalg.eigh(wide @ wide.T).eigenvectors.flip(1).to(weight.dtype)


def directions(weight: Tensor, base_vectors: Tensor, top: int) -> Directions:
    """Of the largest singular values; a vector's sign means nothing."""
    vectors = left_vectors(weight)[:, :top]
    return Directions(vectors, (base_vectors.T @ vectors).abs().amax(0))


def scaled_change(weight: Tensor, intruders: Tensor, scale: float) -> Tensor:
    """What is to be added to W for these singular values to be multiplied: (λ − 1) Σ u σ vᵀ, where σ vᵀ = uᵀ W."""
    return (scale - 1) * intruders @ (intruders.T @ weight)


@torch.no_grad()
def effective_weight(module: Any) -> Tensor:
    """W, or W + sBA."""
    if is_adapted(module):
        return stored_weight(module) + module.get_delta_weight(module.active_adapters[0])
    return stored_weight(module).clone()


def stored_weight(module: Any) -> Tensor:
    """The tensor that a change is added to."""
    weight: Tensor = (module.get_base_layer() if is_adapted(module) else module).weight.detach()
    return weight


def is_adapted(module: object) -> bool:
    return isinstance(module, LoraLayer)


# --- one training -----------------------------------------------------------------------------------------------------


def measure(comparison: Comparison, point: Point, method: Method, rate: float) -> None:
    """Train, look at the weights, scale what is found. Divergence is a result like others."""
    params = comparison.params
    model = comparison.lab.model(params.model)
    make_trainable(model, method, point.seed)
    config = TrainingConfig(
        steps=params.steps,
        batch_size=params.batch_size,
        learning_rate=rate * (FULL_RATIO if method == "full" else 1),
        seed=point.seed,
        warmup_steps=min(WARMUP_STEPS, params.steps),
    )
    try:
        train(model, comparison.examples.training, config, lambda step, loss: point.log("loss", loss, step=step))
    except Diverged:
        point.log("diverged", 1)
        return
    point.log("diverged", 0)
    weights = {name: effective_weight(module) for name, module in projections(model)}
    found = {name: directions(w, comparison.vectors[name], params.top) for name, w in weights.items()}
    log_directions(comparison, point, weights, found)
    for name, loss in comparison.losses(model).items():
        point.log(name, loss)
    if point.value("intruders"):
        for scale in params.scales:
            with comparison.lab.point(seed=point.seed, method=method, rate=rate, scale=scale) as scaled:
                if not scaled.is_finished:
                    measure_scaled(comparison, scaled, point, model, changes(params, weights, found, scale))


def make_trainable(model: PreTrainedModel, method: Method, seed: int) -> None:
    """The projections, or adapters on them, in place."""
    if method != "full":
        add_adapter(model, Adapter(RANKS[method], 2 * RANKS[method], ",".join(TRAINED), seed))
        return
    model.requires_grad_(False)
    for _, module in projections(model):
        module.weight.requires_grad_(True)


def log_directions(
    comparison: Comparison, point: Point, weights: Mapping[str, Tensor], found: Mapping[str, Directions]
) -> None:
    cosines = [cosine for one in found.values() for cosine in one.cosines.tolist()]
    intruders = sum(cosine < comparison.params.threshold for cosine in cosines)
    point.log("intruders", intruders)
    point.log("intruder_share", 100 * intruders / len(cosines))
    point.log("lowest_cosine", min(cosines))
    point.log("mean_cosine", fmean(cosines))
    moved = sum((w - comparison.base[name]).square().sum().item() for name, w in weights.items())
    whole = sum(w.square().sum().item() for w in comparison.base.values())
    point.log("change", 100 * math.sqrt(moved / whole))


def changes(
    params: IntruderDimensionsParameters, weights: Mapping[str, Tensor], found: Mapping[str, Directions], scale: float
) -> dict[str, Tensor]:
    intruders = {name: one.intruders(params.threshold) for name, one in found.items()}
    return {name: scaled_change(weights[name], u, scale) for name, u in intruders.items() if u.shape[1]}


def measure_scaled(
    comparison: Comparison, point: Point, unscaled: Point, model: PreTrainedModel, wanted: Mapping[str, Tensor]
) -> None:
    """The losses with the intruders scaled; the model is as before when this returns."""
    modules = dict(projections(model))
    kept = {name: stored_weight(modules[name]).clone() for name in wanted}
    for name, change in wanted.items():
        stored_weight(modules[name]).add_(change)
    losses = comparison.losses(model)
    for name, weight in kept.items():
        stored_weight(modules[name]).copy_(weight)
    for name, loss in losses.items():
        point.log(name, loss)
    point.log("task_change", losses["validation_loss"] - unscaled.value("validation_loss"))
    point.log("prose_change", losses["prose_loss"] - unscaled.value("prose_loss"))
