"""LoRA, DoRA and full fine-tuning of one model: how the lengths and directions of its weights change."""

import csv
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from labs.catalog.dora_directions import METHODS, DoraDirectionsParameters, Method
from worker.context import Point, RunContext
from worker.keeping import keep_adapter
from worker.training.config import TrainingConfig
from worker.training.examples import FactExamples, encode_facts
from worker.training.loop import train
from worker.training.loss import evaluate

MOMENTS = 4  # at which weights are compared, as in the paper
ALL_LINEAR = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"


@dataclass(frozen=True)
class Change:
    """How far one matrix has moved from the base."""

    module: str  # its kind, such as q_proj
    layer: int
    step: int
    magnitude: float
    direction: float


@dataclass(frozen=True)
class Comparison:
    """What all methods share."""

    params: DoraDirectionsParameters
    lab: RunContext
    examples: FactExamples
    base: dict[str, Tensor]  # the measured matrices before training, by name


def run(params: DoraDirectionsParameters, lab: RunContext) -> None:
    points = [(seed, method) for seed in lab.seeds for method in params.methods]
    if all(lab.point(seed=seed, method=method).is_finished for seed, method in points):
        return
    examples = encode_facts(lab.data("facts"), lab.tokenizer(params.model))
    base = {name: weight.clone() for name, weight in measured_weights(lab.model(params.model), params)}
    comparison = Comparison(params, lab, examples, base)
    for done, (seed, method) in enumerate(points):
        lab.progress(done, len(points), METHODS[method])
        with lab.point(seed=seed, method=method) as point:
            if not point.is_finished:
                measure(comparison, point, method)
    lab.progress(len(points), len(points))


def measure(comparison: Comparison, point: Point, method: Method) -> None:
    """Train by one method from a fresh base, and log how its weights moved."""
    params = comparison.params
    model = comparison.lab.model(params.model)
    adapted = prepare(model, params, method, point.seed)
    config = TrainingConfig(
        steps=params.steps,
        batch_size=params.batch_size,
        learning_rate=params.full_learning_rate if method == "full" else params.learning_rate,
        seed=point.seed,
    )
    moments = [round(params.steps * (i + 1) / MOMENTS) for i in range(MOMENTS)]
    found: list[Change] = []

    def record(step: int, loss: float) -> None:
        point.log("loss", loss, step=step)
        if step + 1 in moments:
            found.extend(changes(model, comparison, step + 1))

    train(model, comparison.examples.training, config, after_update=record)
    point.log("validation_loss", evaluate(model, comparison.examples.validation).loss)
    if adapted:
        keep_adapter(comparison.lab, point, adapted, model=params.model)
    log_changes(comparison.lab, point.seed, method, found)
    keep(comparison.lab, point.seed, method, found)


def prepare(model: PreTrainedModel, params: DoraDirectionsParameters, method: Method, seed: int) -> PeftModel | None:
    """Make trainable what the method trains, in place; gives the adapter, where that is one."""
    if method == "full":
        model.requires_grad_(True)
        return None
    torch.manual_seed(seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=params.rank,
        lora_alpha=params.alpha,
        target_modules=module_names(params),
        use_dora=method == "dora",
    )
    return get_peft_model(model, config)


def module_names(params: DoraDirectionsParameters) -> list[str]:
    names = params.target_modules
    return (ALL_LINEAR if names == "all-linear" else names).split(",")


def measured_weights(model: PreTrainedModel, params: DoraDirectionsParameters) -> Iterator[tuple[str, Tensor]]:
    """The weight that each measured module has in effect just now, with its adapter."""
    kinds = module_names(params)
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in kinds:
            yield name, effective_weight(module)


@torch.no_grad()
def effective_weight(module: Any) -> Tensor:
    """W, or W + sBA, or for DoRA its rows rescaled to the trained lengths."""
    weight: Tensor
    if not hasattr(module, "lora_A"):
        weight = module.weight.detach()
        return weight
    adapter = module.active_adapters[0]
    weight = module.get_base_layer().weight + module.get_delta_weight(adapter)
    if adapter not in module.lora_magnitude_vector:
        return weight
    lengths: Tensor = module.lora_magnitude_vector[adapter].weight
    return weight * (lengths / weight.norm(dim=1)).unsqueeze(1)


def changes(model: PreTrainedModel, comparison: Comparison, step: int) -> Iterator[Change]:
    """How far every measured matrix has moved."""
    for name, weight in measured_weights(model, comparison.params):
        parts = name.split(".")
        layer = next(int(part) for part in parts if part.isdigit())
        yield Change(parts[-1], layer, step, *matrix_change(weight, comparison.base[name]))


def matrix_change(now: Tensor, base: Tensor) -> tuple[float, float]:
    """ΔM and ΔD of the DoRA paper (section 3.2): means over the vectors w of |‖w‖ − ‖w₀‖| and of 1 − cos(w, w₀).

    The paper calls the vectors columns; in the authors' code, PEFT's and here they are the rows of an (out, in)
    matrix. 1 − cos is computed as half the squared distance of the unit vectors, because it is small.
    """
    now, base = now.double(), base.double()
    lengths, base_lengths = now.norm(dim=1), base.norm(dim=1)
    turned = now / lengths.unsqueeze(1) - base / base_lengths.unsqueeze(1)
    return (lengths - base_lengths).abs().mean().item(), 0.5 * turned.square().sum(1).mean().item()


def log_changes(lab: RunContext, seed: int, method: Method, found: list[Change]) -> None:
    """Means and correlations of each kind of matrix."""
    last = max(change.step for change in found)
    for module in dict.fromkeys(change.module for change in found):
        of_module = [change for change in found if change.module == module]
        with lab.point(seed=seed, method=method, module=module) as point:
            if not point.is_finished:
                point.log("correlation", correlation(of_module))
                point.log("correlation_last", correlation([c for c in of_module if c.step == last]))
        for step in dict.fromkeys(change.step for change in of_module):
            group = [change for change in of_module if change.step == step]
            with lab.point(seed=seed, method=method, module=module, step=step) as point:
                if not point.is_finished:
                    point.log("magnitude_change", sum(c.magnitude for c in group) / len(group))
                    point.log("direction_change", sum(c.direction for c in group) / len(group))


def correlation(found: list[Change]) -> float:
    """Pearson's, of the two changes."""
    both = torch.tensor([[c.direction for c in found], [c.magnitude for c in found]], dtype=torch.float64)
    return torch.corrcoef(both)[0, 1].item()


def keep(lab: RunContext, seed: int, method: Method, found: list[Change]) -> None:
    """Every matrix at every moment, for whoever wants the scatter plot."""
    path = lab.scratch / f"changes-{method}-{seed}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Change)])
        writer.writerows(astuple(change) for change in found)
    lab.artifact(path.name, path)
