"""Bottleneck adapters (Houlsby et al. 2019, section 2.1), which PEFT does not have."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import PreTrainedModel

# The two sublayers of a Llama block; an adapter follows each, before its output joins the residual stream.
SUBLAYERS = ("self_attn.o_proj", "mlp.down_proj")


class Bottleneck(nn.Module):
    """A linear layer of the base, then x + up(GELU(down(x))); `up` starts at zero, so that it changes nothing."""

    def __init__(self, base: nn.Linear, size: int) -> None:
        super().__init__()
        width = base.out_features
        self.base = base
        self.down = nn.Linear(width, size).to(base.weight)
        self.up = nn.Linear(size, width).to(base.weight)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        x: Tensor = self.base(hidden)  # (B, T, width)
        update: Tensor = self.up(F.gelu(self.down(x)))
        return x + update


def add_bottlenecks(model: PreTrainedModel, size: int, seed: int) -> list[Bottleneck]:
    """Two adapters a block, in place, and nothing else trainable."""
    torch.manual_seed(seed)
    model.requires_grad_(False)
    added = []
    for block in model.base_model.layers:  # type: ignore[union-attr]
        for name in SUBLAYERS:
            adapter = Bottleneck(block.get_submodule(name), size)
            block.set_submodule(name, adapter)
            added.append(adapter)
    return added


def remove_bottlenecks(model: PreTrainedModel) -> None:
    """Give the blocks their own layers back."""
    for block in model.base_model.layers:  # type: ignore[union-attr]
        for name in SUBLAYERS:
            block.set_submodule(name, block.get_submodule(name).base)


@contextmanager
def bottlenecks(model: PreTrainedModel, size: int, seed: int) -> Iterator[list[Bottleneck]]:
    """`add_bottlenecks` for the length of a `with` block."""
    try:
        yield add_bottlenecks(model, size, seed)
    finally:
        remove_bottlenecks(model)
