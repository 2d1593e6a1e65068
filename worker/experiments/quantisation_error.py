"""Store the linear layers of an encoder and a language model in few bits, and compare weights and outputs."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import PreTrainedModel

from labs.catalog.quantisation_error import Block, Constants, Format, QuantisationErrorParameters
from worker.context import Point, RunContext
from worker.data.rows import Passage
from worker.quantisation import layer_linears, quantise, stored_bytes


@dataclass(frozen=True)
class Variant:
    """One way to store weights."""

    format: Format
    block: Block
    constants: Constants

    @property
    def settings(self) -> dict[str, object]:
        """Of its points."""
        return {"format": self.format, "block": self.block, "constants": self.constants}


@dataclass(frozen=True)
class Loss:
    """What storing a model's linear layers in a variant did to the weights, and what it takes."""

    squared_error: dict[int, float]  # by layer
    squared_norm: dict[int, float]
    bits_per_parameter: float

    @property
    def relative_error(self) -> float:
        return math.sqrt(sum(self.squared_error.values()) / sum(self.squared_norm.values()))

    def of_layer(self, layer: int) -> float:
        return math.sqrt(self.squared_error[layer] / self.squared_norm[layer])


@dataclass(frozen=True)
class Subject:
    """A model, the texts that each seed drew for it, and what it gave on them before anything was quantised."""

    part: str
    model: PreTrainedModel
    texts: dict[int, list[Tensor]]  # seed → rows of tokens, (1, T)
    reference: dict[int, list[Tensor]]
    compare: Callable[["Subject", Point], None]


@dataclass(frozen=True)
class Study:
    """One model of a run."""

    params: QuantisationErrorParameters
    lab: RunContext
    subject: Subject

    def point(self, seed: int, variant: Variant, **other: str) -> Point:
        """The point of a variant, with some of its settings changed."""
        return self.lab.point(seed=seed, part=self.subject.part, **variant.settings | other)


def run(params: QuantisationErrorParameters, lab: RunContext) -> None:
    variants = variants_of(params)
    loaders = (("encoder", load_encoder), ("language", load_language_model))
    total = len(loaders) * len(variants)
    for i, (part, load) in enumerate(loaders):
        if all(is_finished(lab, part, variant) for variant in variants):
            continue
        study = Study(params, lab, load(params, lab))
        for j, variant in enumerate(variants):
            note = f"{part}: {variant.format}, {variant.block}, {variant.constants}"
            lab.progress(i * len(variants) + j, total, note)
            if not is_finished(lab, part, variant):
                measure(study, variant)
    lab.progress(total, total)


def variants_of(params: QuantisationErrorParameters) -> list[Variant]:
    """NF4 and plain constants first: the others are compared with them."""
    formats = sorted(params.formats, key=lambda form: form != "nf4")
    constants = sorted(params.constants, key=lambda form: form != "plain")
    return [Variant(form, block, how) for form, block, how in product(formats, params.blocks, constants)]


def is_finished(lab: RunContext, part: str, variant: Variant) -> bool:
    return all(lab.point(seed=seed, part=part, **variant.settings).is_finished for seed in lab.seeds)


def measure(study: Study, variant: Variant) -> None:
    """All about one variant of one model; the error by layer only where it has a picture."""
    is_first = variant.block == study.params.blocks[0] and variant.constants == variants_of(study.params)[0].constants
    with stored(study.subject.model, variant) as loss:
        for seed in study.lab.seeds:
            if is_first:
                log_layers(study, seed, variant, loss)
            with study.point(seed, variant) as point:
                if not point.is_finished:
                    log_weights(study, point, variant, loss)
                    study.subject.compare(study.subject, point)
                    log_divergence(study, point, variant)


# --- weights ----------------------------------------------------------------------------------------------------------


@contextmanager
def stored(model: PreTrainedModel, variant: Variant) -> Iterator[Loss]:
    """The model with the weights that the variant gives back; the original ones afterwards."""
    originals: list[tuple[torch.nn.Linear, Tensor]] = []
    errors: dict[int, float] = {}
    norms: dict[int, float] = {}
    tensors: list[Tensor] = []
    for _, layer, linear in layer_linears(model):
        weight = linear.weight.data
        result = quantise(weight, variant.format, variant.block, double=variant.constants == "double")
        errors[layer] = errors.get(layer, 0.0) + (result.weight - weight).square().sum().item()
        norms[layer] = norms.get(layer, 0.0) + weight.square().sum().item()
        tensors += result.stored
        originals.append((linear, weight))
        linear.weight.data = result.weight
    weights = sum(weight.numel() for _, weight in originals)
    bits = 8 * stored_bytes(tensors) / weights
    del tensors
    try:
        yield Loss(errors, norms, bits)
    finally:
        for linear, weight in originals:
            linear.weight.data = weight


def log_layers(study: Study, seed: int, variant: Variant, loss: Loss) -> None:
    for layer in loss.squared_error:
        with study.lab.point(seed=seed, part=study.subject.part, format=variant.format, layer=layer) as point:
            if not point.is_finished:
                point.log("relative_error", loss.of_layer(layer))


def log_weights(study: Study, point: Point, variant: Variant, loss: Loss) -> None:
    point.log("relative_error", loss.relative_error)
    point.log("bits_per_parameter", loss.bits_per_parameter)
    if "nf4" in study.params.formats and variant.format != "nf4":
        nf4 = study.point(point.seed, variant, format="nf4").value("relative_error")
        point.log("error_over_nf4", loss.relative_error / nf4)
    if "plain" in study.params.constants and variant.constants == "double":
        plain = study.point(point.seed, variant, constants="plain").value("relative_error")
        point.log("error_rise", 100 * (loss.relative_error / plain - 1))


# --- outputs ----------------------------------------------------------------------------------------------------------


def drawn(params: QuantisationErrorParameters, lab: RunContext, seed: int) -> list[str]:
    """The passages of a seed. Nothing is trained here, so it may draw from all."""
    passages: list[Passage] = lab.data("prose")  # type: ignore[assignment]
    return [passage.text for passage in Random(seed).sample(passages, params.passages)]  # noqa: S311 (not a secret)


def load_encoder(params: QuantisationErrorParameters, lab: RunContext) -> Subject:
    tokenizer, model = lab.tokenizer(params.encoder), lab.encoder(params.encoder)
    texts = {
        seed: [torch.tensor([tokenizer.encode(text)], device=lab.device) for text in drawn(params, lab, seed)]
        for seed in lab.seeds
    }
    reference = {seed: [embedding(model, row) for row in rows] for seed, rows in texts.items()}
    return Subject("encoder", model, texts, reference, compare_embeddings)


@torch.inference_mode()
def embedding(encoder: PreTrainedModel, row: Tensor) -> Tensor:
    """(d,) the mean over all tokens, of length 1, as sentence-transformers makes it for this model."""
    return F.normalize(encoder(input_ids=row).last_hidden_state[0].mean(dim=0), dim=0)


def compare_embeddings(subject: Subject, point: Point) -> None:
    rows, before = subject.texts[point.seed], subject.reference[point.seed]
    cosines = [torch.dot(embedding(subject.model, row), old).item() for row, old in zip(rows, before, strict=True)]
    point.log("embedding_cosine", sum(cosines) / len(cosines))
    point.log("smallest_cosine", min(cosines))


def load_language_model(params: QuantisationErrorParameters, lab: RunContext) -> Subject:
    """With the perplexity of the original, which the variants are compared with."""
    tokenizer, model = lab.tokenizer(params.model), lab.model(params.model)
    texts = {
        seed: [
            torch.tensor([tokenizer.encode(text, add_special_tokens=False)], device=lab.device)
            for text in drawn(params, lab, seed)
        ]
        for seed in lab.seeds
    }
    # Hidden states, because logits of all texts would fill the memory; the output layer is not quantised.
    reference = {seed: [hidden_states(model, row) for row in rows] for seed, rows in texts.items()}
    subject = Subject("language", model, texts, reference, compare_probabilities)
    for seed in lab.seeds:
        with lab.point(seed=seed, part="language") as point:
            if not point.is_finished:
                point.log("perplexity", judge(subject, seed).perplexity)
                point.log("tokens", sum(row.shape[1] - 1 for row in texts[seed]))
    return subject


@torch.inference_mode()
def hidden_states(model: PreTrainedModel, row: Tensor) -> Tensor:
    """(T - 1, d) at every position that has a token to predict."""
    decoder: torch.nn.Module = getattr(model, model.base_model_prefix)
    return decoder(input_ids=row, use_cache=False).last_hidden_state[0, :-1]


@dataclass(frozen=True)
class Judgement:
    """Means per token over all texts of a seed, in nats."""

    divergence: float  # of the original's next-token distribution from the model's, KL(original ‖ model)
    loss: float

    @property
    def perplexity(self) -> float:
        return math.exp(self.loss)


@torch.inference_mode()
def judge(subject: Subject, seed: int) -> Judgement:
    head = subject.model.get_output_embeddings()
    divergence, loss, tokens = 0.0, 0.0, 0
    for row, before in zip(subject.texts[seed], subject.reference[seed], strict=True):
        found = head(hidden_states(subject.model, row)).log_softmax(dim=-1)  # (T - 1, V)
        original = head(before).log_softmax(dim=-1)
        divergence += F.kl_div(found, original, log_target=True, reduction="sum").item()
        loss += F.nll_loss(found, row[0, 1:], reduction="sum").item()
        tokens += len(before)
    return Judgement(divergence / tokens, loss / tokens)


def compare_probabilities(subject: Subject, point: Point) -> None:
    found = judge(subject, point.seed)
    point.log("kl", found.divergence)
    point.log("perplexity", found.perplexity)


def log_divergence(study: Study, point: Point, variant: Variant) -> None:
    """Against the original and against NF4, on the same text; of a language model only."""
    part = study.subject.part
    if part != "language":
        return
    original = study.lab.point(seed=point.seed, part=part).value("perplexity")
    point.log("perplexity_rise", 100 * (point.value("perplexity") / original - 1))
    if "nf4" in study.params.formats and variant.format != "nf4":
        point.log("kl_over_nf4", point.value("kl") - study.point(point.seed, variant, format="nf4").value("kl"))
