"""ICQ's shifts on an encoder and a language model, and the same adapter trained on plain and on shifted NF4."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from labs.catalog.ir_qlora import AIMS, METHODS, Aim, IrQloraParameters, Method
from worker.adapters import Adapter, add_adapter
from worker.calibration import Shifts, code_entropy, quantise_shifted, search_shifts
from worker.context import Point, RunContext
from worker.elastic import connect, fold, strengths
from worker.experiments.quantisation_error import embedding
from worker.keeping import keep_adapter
from worker.quantisation import Quantised, four_bit_block, layer_linears, quantise, stored_bytes
from worker.training.config import usual_config
from worker.training.examples import FactExamples, encode_facts
from worker.training.loop import train
from worker.training.loss import evaluate
from worker.training.outcomes import Diverged

# The methods on each base, which is where the shifts come from: plain QLoRA first, because all are compared with it.
BASES: dict[Aim, tuple[Method, ...]] = {"none": ("qlora", "iec"), "entropy": ("icq", "ir-qlora")}
ELASTIC = ("iec", "ir-qlora")


@dataclass(frozen=True)
class Variant:
    """How shifts are chosen; without an aim there are none."""

    aim: Aim
    reach: float = 0.0

    @property
    def settings(self) -> dict[str, object]:
        """Of its points."""
        return {"aim": self.aim} | ({} if self.aim == "none" else {"reach": self.reach})


PLAIN = Variant("none")


@dataclass(frozen=True)
class Stored:
    """What storing the linear layers of a model did, block by block."""

    entropy: Tensor  # (N,), bits a code
    squared_error: Tensor  # (N,)
    squared_norm: float
    bits_per_parameter: float

    @property
    def relative_error(self) -> float:
        return math.sqrt(self.squared_error.sum(dtype=torch.float64).item() / self.squared_norm)


def run(params: IrQloraParameters, lab: RunContext) -> None:
    total = 1 + len(METHODS)
    lab.progress(0, total, "encoder")
    judge_encoder(params, lab)
    for i, (aim, methods) in enumerate(BASES.items()):
        lab.progress(1 + 2 * i, total, AIMS[aim])
        train_on(params, lab, Variant(aim, params.reaches[0]) if aim != "none" else PLAIN, methods)
    lab.progress(total, total)


# --- weights ----------------------------------------------------------------------------------------------------------


def variants_of(params: IrQloraParameters) -> list[Variant]:
    """Plain NF4 first: the others are compared with it."""
    aims: tuple[Aim, ...] = ("entropy", "error")
    return [PLAIN, *(Variant(aim, reach) for reach in params.reaches for aim in aims)]


def judge_encoder(params: IrQloraParameters, lab: RunContext) -> None:
    """Weights have no seed: what they give is recorded for each. The sentences are drawn by seed."""
    variants = variants_of(params)
    points = [lab.point(seed=seed, part="encoder", **v.settings) for seed in lab.seeds for v in variants]
    if all(point.is_finished for point in points):
        return
    model = lab.encoder(params.encoder)
    texts = {seed: sentences(params, lab, seed) for seed in lab.seeds}
    before = {seed: [embedding(model, row) for row in rows] for seed, rows in texts.items()}
    found: dict[float, dict[str, Shifts]] = {}
    plain: Stored | None = None
    for variant in variants:
        if variant != PLAIN and variant.reach not in found:
            found[variant.reach] = find_shifts(model, variant.reach, params.candidates)
        with stored(model, chosen(found.get(variant.reach, {}), variant.aim)) as result:
            plain = plain or result
            for seed, rows in texts.items():
                with lab.point(seed=seed, part="encoder", **variant.settings) as point:
                    if not point.is_finished:
                        log_weights(point, result, plain)
                        point.log("embedding_distance", mean_distance(model, rows, before[seed]))


def sentences(params: IrQloraParameters, lab: RunContext, seed: int) -> list[Tensor]:
    """(1, T) tokens of the passages of a seed. Nothing is trained on them, so it may draw from all."""
    tokenizer = lab.tokenizer(params.encoder)
    drawn = Random(seed).sample(lab.data("prose"), params.passages)  # noqa: S311 (not a secret)
    return [torch.tensor([tokenizer.encode(passage.text)], device=lab.device) for passage in drawn]  # type: ignore[attr-defined]


def mean_distance(model: PreTrainedModel, rows: list[Tensor], before: list[Tensor]) -> float:
    """1 − cosine, averaged."""
    cosines = [torch.dot(embedding(model, row), old).item() for row, old in zip(rows, before, strict=True)]
    return 1 - sum(cosines) / len(cosines)


def find_shifts(model: nn.Module, reach: float, candidates: int) -> dict[str, Shifts]:
    """For every linear layer, by its name."""
    return {
        name: search_shifts(linear.weight.data, four_bit_block(linear.in_features), reach=reach, candidates=candidates)
        for name, _, linear in layer_linears(model)
    }


def chosen(found: dict[str, Shifts], aim: Aim) -> dict[str, Tensor]:
    """The shifts with that aim; none for plain NF4."""
    if aim == "none":
        return {}
    return {name: shifts.entropy if aim == "entropy" else shifts.error for name, shifts in found.items()}


@contextmanager
def stored(model: nn.Module, shifts: dict[str, Tensor]) -> Iterator[Stored]:
    """The model with the weights that NF4 gives back, with those shifts; the original ones afterwards."""
    originals = [(name, linear, linear.weight.data) for name, _, linear in layer_linears(model)]
    entropies, errors, tensors, norm = [], [], [], 0.0
    for name, linear, weight in originals:
        block = four_bit_block(linear.in_features)
        result = store(weight, block, shifts.get(name))
        entropies.append(code_entropy(result, block))
        errors.append((result.weight - weight).reshape(-1, block).square().sum(dim=1))
        norm += weight.square().sum(dtype=torch.float64).item()
        tensors += result.stored
        linear.weight.data = result.weight
    weights = sum(weight.numel() for _, _, weight in originals)
    try:
        yield Stored(torch.cat(entropies), torch.cat(errors), norm, 8 * stored_bytes(tensors) / weights)
    finally:
        for _, linear, weight in originals:
            linear.weight.data = weight


def store(weight: Tensor, block: int, shift: Tensor | None) -> Quantised:
    """One weight in NF4 with double quantisation."""
    return quantise(weight, "nf4", block, double=True) if shift is None else quantise_shifted(weight, shift, block)


def log_weights(point: Point, found: Stored, plain: Stored) -> None:
    point.log("entropy", found.entropy.mean().item())
    point.log("relative_error", found.relative_error)
    point.log("bits_per_parameter", found.bits_per_parameter)
    if found is plain:
        return
    point.log("entropy_gain", (found.entropy.mean() - plain.entropy.mean()).item())
    point.log("error_change", 100 * (found.relative_error / plain.relative_error - 1))
    point.log("extra_bits", found.bits_per_parameter - plain.bits_per_parameter)
    point.log("blocks_with_more_entropy", percent(found.entropy > plain.entropy))
    point.log("blocks_with_less_error", percent(found.squared_error < plain.squared_error))


def percent(holds: Tensor) -> float:
    return 100 * holds.double().mean().item()


# --- training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """What the methods on a base share."""

    params: IrQloraParameters
    lab: RunContext
    model: PreTrainedModel
    examples: FactExamples


def train_on(params: IrQloraParameters, lab: RunContext, variant: Variant, methods: tuple[Method, ...]) -> None:
    """Train by the methods that share a base.

    Its layers are ordinary ones that hold what the codes stand for. That gives the losses of layers that dequantise
    (the lab qlora-train compares their gradients), only quicker; memory and time are not this lab's question.
    """
    points = [(seed, method) for seed in lab.seeds for method in methods]
    if all(lab.point(seed=seed, method=method).is_finished for seed, method in points):
        return
    examples = encode_facts(lab.data("facts"), lab.tokenizer(params.model))
    study = Study(params, lab, lab.model(params.model), examples)
    with stored(study.model, {}) as plain:
        pass
    shifts = {} if variant == PLAIN else find_shifts(study.model, variant.reach, params.candidates)
    with stored(study.model, chosen(shifts, variant.aim)) as found:
        for seed in lab.seeds:
            with lab.point(seed=seed, part="language", **variant.settings) as point:
                if not point.is_finished:
                    log_weights(point, plain if variant == PLAIN else found, plain)
        base_loss = evaluate(study.model, examples.validation).loss
        for seed, method in points:
            with lab.point(seed=seed, method=method) as point:
                if not point.is_finished:
                    point.log("base_loss", base_loss)
                    measure_training(study, point, method)


def measure_training(study: Study, point: Point, method: Method) -> None:
    """Train one adapter; the base is as before when this returns. Divergence is a result like others."""
    params, model = study.params, study.model
    adapted = add_adapter(model, Adapter(params.rank, params.alpha, "all-linear", point.seed))
    if method in ELASTIC:
        connect(adapted)
    config = usual_config(params, point.seed)
    try:
        train(model, study.examples.training, config, lambda step, loss: point.log("loss", loss, step=step))
        point.log("diverged", 0)
        point.log("validation_loss", evaluate(model, study.examples.validation).loss)
        if method in ELASTIC:
            down, up = strengths(adapted)
            point.log("strength_down", down)
            point.log("strength_up", up)
        if method == "iec":
            keep_adapter(study.lab, point, fold(adapted), model=params.model, base="nf4")
    except Diverged:
        point.log("diverged", 1)
        return
    finally:
        adapted.unload()
    reference = study.lab.point(seed=point.seed, method="qlora")
    if method != "qlora" and reference.value("diverged") == 0:
        point.log("validation_loss_above", point.value("validation_loss") - reference.value("validation_loss"))
