"""PEFT's AdaLoRA on every linear layer: which matrices keep their ranks."""

from collections.abc import Collection, Mapping

import torch
from peft import AdaLoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from labs.catalog.adalora_ranks import MODULES, AdaloraRanksParameters
from worker.adapters import trainable_parameters
from worker.context import Point, RunContext
from worker.methods.adalora import ADAPTER, Penalty, Place, adalora_layers
from worker.training.config import TrainingConfig
from worker.training.examples import FactExamples, encode_facts
from worker.training.loop import train
from worker.training.loss import evaluate

MOMENTS = 16  # at which ranks are recorded on the way

Ranks = Mapping[Place, int]


def run(params: AdaloraRanksParameters, lab: RunContext) -> None:
    examples: FactExamples | None = None
    for done, seed in enumerate(lab.seeds):
        lab.progress(done, len(lab.seeds), f"seed {seed}")
        with lab.point(seed=seed) as point:
            if not point.is_finished:
                examples = examples or encode_facts(lab.data("facts"), lab.tokenizer(params.model))
                measure(params, lab, point, examples)
    log_agreement(lab)
    lab.progress(len(lab.seeds), len(lab.seeds))


def measure(params: AdaloraRanksParameters, lab: RunContext, point: Point, examples: FactExamples) -> None:
    """Train one model and log the ranks on the way and in the end."""
    model = lab.model(params.model)
    adapted = add_adalora(model, params, point.seed)
    point.log("trainable_parameters", trainable_parameters(adapted))
    penalty = Penalty(params.orthogonality)
    moments = {round(params.steps * (i + 1) / MOMENTS) for i in range(MOMENTS)}

    def allocate(step: int, loss: float) -> None:
        adapted.base_model.update_and_allocate(step + 1)  # type: ignore[operator]
        point.log("loss", loss - penalty.value, step=step)
        found = ranks(model)
        point.log("budget", sum(found.values()), step=step)
        if step + 1 in moments:
            log_moment(lab, point.seed, step + 1, found)

    train(model, examples.training, training_config(params, point.seed), objective=penalty, after_update=allocate)
    point.log("validation_loss", evaluate(model, examples.validation).loss)
    log_final(lab, point, ranks(model))


def add_adalora(model: PreTrainedModel, params: AdaloraRanksParameters, seed: int) -> PeftModel:
    """Put the adapter into every linear layer but the output layer, in place."""
    torch.manual_seed(seed)
    config = AdaLoraConfig(
        task_type="CAUSAL_LM",
        init_r=params.initial_rank,
        target_r=params.target_rank,
        lora_alpha=params.alpha,
        target_modules="all-linear",
        tinit=params.initial_steps,
        tfinal=params.final_steps,
        total_step=params.steps,
    )
    adapted: PeftModel = get_peft_model(model, config)
    return adapted


def training_config(params: AdaloraRanksParameters, seed: int) -> TrainingConfig:
    return TrainingConfig(
        steps=params.steps, batch_size=params.batch_size, learning_rate=params.learning_rate, seed=seed
    )


def ranks(model: PreTrainedModel) -> Ranks:
    """Triplets whose singular value is not zero. Right after an allocation, because the next step revives the rest."""
    return {
        place: int(layer.lora_E[ADAPTER].count_nonzero())  # all are zero before the first step
        for place, layer in adalora_layers(model).items()
    }


def log_moment(lab: RunContext, seed: int, step: int, found: Ranks) -> None:
    for module in modules(found):
        with lab.point(seed=seed, module=module, step=step) as point:
            if not point.is_finished:
                point.log("mean_rank", mean_rank(found, of_module(found, module)))


def log_final(lab: RunContext, point: Point, found: Ranks) -> None:
    """The map, and what the paper says about it in one number each."""
    half = (max(layer for layer, _ in found) + 1) / 2
    point.log("total_rank", sum(found.values()))
    for (layer, module), rank in found.items():
        with lab.point(seed=point.seed, layer=layer, module=module) as place:
            if not place.is_finished:
                place.log("rank", rank)
    for module in modules(found):
        with lab.point(seed=point.seed, module=module) as kind:
            if not kind.is_finished:
                kind.log("final_mean_rank", mean_rank(found, of_module(found, module)))
    attention = {place for place in found if place[1][0] in "qkvo"}
    top = {place for place in found if place[0] >= half}
    point.log("mlp_minus_attention", mean_rank(found, found.keys() - attention) - mean_rank(found, attention))
    point.log("top_minus_bottom", mean_rank(found, top) - mean_rank(found, found.keys() - top))


def modules(found: Ranks) -> list[str]:
    return list(dict.fromkeys(module for _, module in found))


def of_module(found: Ranks, module: str) -> set[Place]:
    return {place for place in found if place[1] == module}


def mean_rank(found: Ranks, places: Collection[Place]) -> float:
    return sum(found[place] for place in places) / len(places)


def log_agreement(lab: RunContext) -> None:
    """Each seed's map against that of the next seed, the last one's against the first; one seed has no other."""
    if len(lab.seeds) < 2:
        return
    maps = [final_map(lab, seed) for seed in lab.seeds]
    for seed, own, other in zip(lab.seeds, maps, maps[1:] + maps[:1], strict=True):
        with lab.point(seed=seed, against="another seed") as point:
            if not point.is_finished:
                point.log("agreement", torch.corrcoef(torch.stack([own, other]))[0, 1].item())


def final_map(lab: RunContext, seed: int) -> Tensor:
    """All final ranks of a seed, in a fixed order."""
    layer, found = 0, list[float]()
    while lab.point(seed=seed, layer=layer, module="q_proj").is_finished:
        found += [lab.point(seed=seed, layer=layer, module=module).value("rank") for module in MODULES]
        layer += 1
    return torch.tensor(found, dtype=torch.float64)
