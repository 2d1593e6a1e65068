"""Ways to merge an adapter that was trained on a 4-bit base, and what is left of its update after each."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bitsandbytes.nn.modules import Linear4bit
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from labs.catalog.merge_check import FourBit, MergePath
from worker.quantisation import dequantised, four_bit_weight, ordinary_linear


class AlreadyMerged(RuntimeError):
    """The adapter is part of the weights already; merging it again would add its update twice."""


@dataclass(frozen=True)
class Part:
    """A 4-bit layer with an adapter: the weight that it multiplies with, and the update that merging adds."""

    name: str
    layer: Linear4bit
    weight: Tensor
    update: Tensor


def adapted_parts(model: PeftModel) -> list[Part]:
    """All layers with an adapter; AlreadyMerged if it cannot be told from the weights any more."""
    parts = []
    for name, module in lora_layers(model):
        if module.merged:
            raise AlreadyMerged(name)
        layer = module.get_base_layer()
        update = module.get_delta_weight(model.active_adapter).detach()
        parts.append(Part(name, layer, dequantised(layer), update))
    return parts


def lora_layers(model: PeftModel) -> Iterator[tuple[str, Any]]:
    """Names as in the base model."""
    base: Any = model.get_base_model()
    return ((name, module) for name, module in base.named_modules() if isinstance(module, LoraLayer))


def merge(
    base: PreTrainedModel, parts: list[Part], path: MergePath, form: FourBit, original: PreTrainedModel
) -> PreTrainedModel:
    """A copy of the 4-bit base without adapter that holds the merged weights."""
    merged: PreTrainedModel = copy.deepcopy(base)
    for part in parts:
        if path == "requantise":
            layer: Any = merged.get_submodule(part.name)
            layer.weight = four_bit_weight(part.weight + part.update, form, double=True)
        else:
            weight = original.get_submodule(part.name).weight if path == "original" else part.weight
            merged.set_submodule(part.name, ordinary_linear(part.layer, merged_weight(weight, part.update, path)))
    return merged


def merged_weight(weight: Any, update: Tensor, path: MergePath) -> Tensor:
    """In float32 and, where the path says so, rounded to 16 bits; products are in float32 in any case."""
    merged = weight.detach() + update
    return merged.bfloat16().float() if path == "bfloat16" else merged


def read_weight(layer: nn.Module) -> Tensor:
    """What a layer, 4-bit or not, multiplies with."""
    if isinstance(layer, Linear4bit):
        return dequantised(layer)
    weight: Tensor = layer.get_parameter("weight")
    return weight.detach()


@dataclass(frozen=True)
class Budget:
    """How much of the update arrived in the weights, over all layers."""

    error: float  # norm of what is off, over the update's norm
    kept: float  # share of the update that arrived: the change of the weights projected on it


def budget(parts: list[Part], found: list[Tensor]) -> Budget:
    """Of merged weights, against dequantised weight plus update."""
    off = sum((w - p.weight - p.update).square().sum().item() for p, w in zip(parts, found, strict=True))
    along = sum(((w - p.weight) * p.update).sum().item() for p, w in zip(parts, found, strict=True))
    norm = sum(part.update.square().sum().item() for part in parts)
    return Budget((off / norm) ** 0.5, along / norm)


def update_share(parts: list[Part]) -> float:
    """Norm of all updates over the norm of all weights that they are added to."""
    updates = sum(part.update.square().sum().item() for part in parts)
    return (updates / sum(part.weight.square().sum().item() for part in parts)) ** 0.5


def same_codes(before: list[Tensor], after: list[Tensor]) -> float:
    """Share of 4-bit codes that are the same; a byte holds two."""
    same = sum(((a >> 4 == b >> 4).sum() + (a & 15 == b & 15).sum()).item() for a, b in zip(before, after, strict=True))
    return same / (2 * sum(packed.numel() for packed in before))


def packed_codes(model: nn.Module, parts: list[Part]) -> list[Tensor]:
    """The bytes of those layers of a model without adapter."""
    return [model.get_submodule(part.name).get_parameter("weight").data.clone() for part in parts]
