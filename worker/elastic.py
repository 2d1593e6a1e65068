"""Information elastic connection (IEC): a path of averages around A and one of repetitions around B.

Qin et al. 2024, section 3.3, and their released code: z = A x + β₁ avg(x), y = s (B z + β₂ rep(z)), where β₁ and β₂ are
trained from zero, a pair for each layer. Both paths are linear, so that they fold into A and B afterwards.
"""

from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn


class _Elastic(nn.Linear):
    """A linear map without bias beside a fixed one that has only a strength to train."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        narrow, wide = sorted((linear.in_features, linear.out_features))
        if wide % narrow:
            raise ValueError(f"Invalid size {wide}: an elastic connection needs a multiple of the rank, {narrow}")
        self.weight = linear.weight
        self.strength = nn.Parameter(torch.zeros(1, dtype=linear.weight.dtype, device=linear.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.strength * self.path(x)

    def path(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """The ordinary map that does the same: the path's matrix is what it makes of unit vectors."""
        linear = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        unit = torch.eye(self.in_features, dtype=self.weight.dtype, device=self.weight.device)
        linear.weight = nn.Parameter(self.weight + self.strength * self.path(unit).T)
        return linear


class ElasticDown(_Elastic):
    """A, with the mean of each of r groups of neighbouring inputs."""

    def path(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.out_features, -1)).mean(dim=-1)


class ElasticUp(_Elastic):
    """B, with each of its r inputs repeated for neighbouring outputs."""

    def path(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.out_features // self.in_features, dim=-1)


def connect(model: PeftModel) -> PeftModel:
    """Give every adapted layer its two connections, in place; ValueError where the rank does not divide a size."""
    for layer, name in _layers(model):
        layer.lora_A[name] = ElasticDown(layer.lora_A[name])
        layer.lora_B[name] = ElasticUp(layer.lora_B[name])
    return model


def fold(model: PeftModel) -> PeftModel:
    """Turn the connections into an ordinary adapter that gives the same outputs, in place."""
    for layer, name in _layers(model):
        layer.lora_A[name] = layer.lora_A[name].folded()
        layer.lora_B[name] = layer.lora_B[name].folded()
    return model


def strengths(model: PeftModel) -> tuple[float, float]:
    """Means of |β₁| and |β₂| over the layers."""
    found = [(layer.lora_A[name].strength, layer.lora_B[name].strength) for layer, name in _layers(model)]
    first, second = (sum(abs(strength.item()) for strength in side) for side in zip(*found, strict=True))
    return first / len(found), second / len(found)


def _layers(model: PeftModel) -> list[tuple[Any, str]]:
    """Each adapted layer with the name of its adapter."""
    return [(module, module.active_adapters[0]) for module in model.modules() if isinstance(module, LoraLayer)]
