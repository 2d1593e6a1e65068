"""Adapters with different starting values in the same model: first logits, gradients, loss after training."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from labs.catalog.init_and_gradients import STARTS, InitAndGradientsParameters, Start
from worker.context import Point, RunContext
from worker.experiments.merge_check import probe_logits
from worker.training.config import TrainingConfig
from worker.training.examples import FactExamples, encode_facts
from worker.training.loop import train
from worker.training.loss import evaluate

PROBES = 8  # questions whose logits are compared at every position
# What PEFT is asked for; the zeros that it does not offer are put in afterwards.
PEFT_START: dict[Start, bool | str] = {
    "kaiming": True,
    "gaussian": "gaussian",
    "a-zero": False,
    "both-zero": True,
    "both-random": False,
}
ZEROED: dict[Start, tuple[str, ...]] = {"a-zero": ("lora_A",), "both-zero": ("lora_A", "lora_B")}


@dataclass(frozen=True)
class Comparison:
    """What all starts share."""

    params: InitAndGradientsParameters
    lab: RunContext
    model: PreTrainedModel
    examples: FactExamples
    base_logits: Tensor  # (N, V)
    base_loss: float


def run(params: InitAndGradientsParameters, lab: RunContext) -> None:
    points = [(seed, start) for seed in lab.seeds for start in params.starts]
    if all(lab.point(seed=seed, start=start).is_finished for seed, start in points):
        return
    model = lab.model(params.model)
    examples = encode_facts(lab.data("facts"), lab.tokenizer(params.model))
    logits, loss = probe_logits(model, examples.validation[:PROBES]), evaluate(model, examples.validation).loss
    comparison = Comparison(params, lab, model, examples, logits, loss)
    for done, (seed, start) in enumerate(points):
        lab.progress(done, len(points), STARTS[start])
        with lab.point(seed=seed, start=start) as point:
            if not point.is_finished:
                measure(comparison, point, start)
    lab.progress(len(points), len(points))


def measure(comparison: Comparison, point: Point, start: Start) -> None:
    """One start: the model before training, its training, the model after it; the base is as before in the end."""
    params, model, examples = comparison.params, comparison.model, comparison.examples
    adapted = add_started_adapter(model, params, start, point.seed)
    difference = probe_logits(model, examples.validation[:PROBES]) - comparison.base_logits
    point.log("initial_logit_difference", difference.abs().max().item())
    config = TrainingConfig(
        steps=params.steps,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        seed=point.seed,
        max_grad_norm=math.inf,  # clipping would hide how large the gradients are
    )
    norms = {"a": list[float](), "b": list[float]()}

    def record(step: int, loss: float) -> None:
        for matrix, found in norms.items():
            found.append(gradient_norm(adapted, f"lora_{matrix.upper()}"))
            point.log(f"gradient_{matrix}", found[-1], step=step)
        point.log("loss", loss, step=step)

    try:
        train(model, examples.training, config, after_update=record)
    finally:
        loss = evaluate(model, examples.validation).loss
        adapted.unload()
    for matrix, found in norms.items():
        point.log(f"first_gradient_{matrix}", found[0])
        point.log(f"second_gradient_{matrix}", found[1])
    point.log("validation_loss", loss)
    point.log("validation_loss_drop", comparison.base_loss - loss)


def add_started_adapter(
    model: PreTrainedModel, params: InitAndGradientsParameters, start: Start, seed: int
) -> PeftModel:
    """Put an adapter with that start into the model, in place."""
    torch.manual_seed(seed)
    names = params.target_modules
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=params.rank,
        lora_alpha=params.alpha,
        target_modules=names if names == "all-linear" else names.split(","),
        init_lora_weights=PEFT_START[start],  # type: ignore[arg-type]
    )
    adapted = get_peft_model(model, config)
    for matrix in ZEROED.get(start, ()):
        for parameter in factors(adapted, matrix):
            nn.init.zeros_(parameter)
    return adapted


def factors(model: PeftModel, matrix: str) -> Iterator[nn.Parameter]:
    """All parameters of one of the two matrices, `lora_A` or `lora_B`."""
    return (parameter for name, parameter in model.named_parameters() if f".{matrix}." in name)


def gradient_norm(model: PeftModel, matrix: str) -> float:
    """Over all layers together."""
    gradients = [parameter.grad for parameter in factors(model, matrix) if parameter.grad is not None]
    return nn.utils.get_total_norm(gradients).item()
