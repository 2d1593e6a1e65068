"""Frozen layers with the adapters of several configurations, each for its own tokens of the batch.

    tokens, end to end  | configuration 0 | configuration 1 | … | configuration K − 1 |
    frozen weights      one product for all tokens together
    adapters            two small products a configuration, with its own A and B

The weights of a configuration lie in two tensors, all of A and all of B, and so do their gradients, which the backward
pass writes in place: clipping and AdamW take a few operations a configuration instead of some hundred.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn import functional as F  # noqa: N812 (its usual name)

from worker.training.end_to_end import bounds

Weights = dict[str, tuple[Tensor, Tensor]]  # by module name: A (r, in) and B (out, r)


@dataclass(frozen=True)
class Factors:
    """A and B of one module for one configuration, views of its tensors."""

    a: Tensor  # (r, in)
    b: Tensor  # (out, r)
    a_gradient: Tensor
    b_gradient: Tensor
    scale: float


class PackedAdapter:
    """The adapter of one configuration."""

    def __init__(self, weights: Weights, scale: float) -> None:
        """Takes the weights over: they are views of the adapter's tensors from now on."""
        columns = list(zip(*weights.values(), strict=True))  # every A, every B
        self.weights = [torch.cat([matrix.flatten() for matrix in column]) for column in columns]
        self.gradients = [torch.zeros_like(whole) for whole in self.weights]
        self.modules: dict[str, Factors] = {}
        of_a, of_b = (bounds([matrix.numel() for matrix in column]) for column in columns)
        for name, i, j in zip(weights, of_a, of_b, strict=True):
            a, b = weights[name]
            weights[name] = self.weights[0][i].view_as(a), self.weights[1][j].view_as(b)
            gradients = self.gradients[0][i].view_as(a), self.gradients[1][j].view_as(b)
            self.modules[name] = Factors(*weights[name], *gradients, scale)

    def leaves(self) -> list[Parameter]:
        """What an optimizer gets: all of A, all of B, in the memory of weights and gradients."""
        found = [Parameter(whole) for whole in self.weights]
        for leaf, gradient in zip(found, self.gradients, strict=True):
            leaf.grad = gradient
        return found


class Tokens:
    """Where the tokens of each configuration are in the batch at hand; every packed layer looks here."""

    def __init__(self) -> None:
        self.places: list[slice] = []

    def lay(self, counts: Sequence[int]) -> None:
        self.places = bounds(counts)


class PackedLinear(nn.Module):
    """A frozen linear layer with the adapters of the configurations that target it, by their place in the batch."""

    def __init__(self, base: nn.Linear, factors: dict[int, Factors], tokens: Tokens) -> None:
        super().__init__()
        self.base, self.factors, self.tokens = base, factors, tokens
        # Makes autograd come by even where neither the input nor the frozen weight asks for a gradient.
        self.anchor = torch.zeros((), device=base.weight.device, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = PackedProduct.apply(x, self.anchor, self)
        return y


class PackedProduct(torch.autograd.Function):
    """x Wᵀ + bias, plus scale · x Aᵀ Bᵀ with each configuration's own A and B."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, _anchor: Tensor, layer: PackedLinear) -> Tensor:
        """`x` is (1, N, in)."""
        y = F.linear(x, layer.base.weight, layer.base.bias)
        lows = []
        for i, f in layer.factors.items():
            at = layer.tokens.places[i]
            lows.append(x[0, at] @ f.a.T)  # (n, r)
            y[0, at].addmm_(lows[-1], f.b.T, alpha=f.scale)
        ctx.save_for_backward(x, *lows)
        ctx.layer = layer
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        layer: PackedLinear = ctx.layer
        gradient, (x, *lows) = gradients[0], ctx.saved_tensors
        to_input = gradient @ layer.base.weight if ctx.needs_input_grad[0] else None
        for (i, f), low in zip(layer.factors.items(), lows, strict=True):
            at = layer.tokens.places[i]
            above = gradient[0, at]  # (n, out)
            to_low = (above @ f.b).mul_(f.scale)
            # Written, not added: a step has one backward pass, and every layer is used in it once.
            torch.mm(above.T, low, out=f.b_gradient).mul_(f.scale)
            torch.mm(to_low.T, x[0, at], out=f.a_gradient)
            if to_input is not None:
                to_input[0, at].addmm_(to_low, f.a)
        return to_input, None, None


@contextmanager
def packed_layers(model: nn.Module, adapters: Sequence[PackedAdapter]) -> Iterator[Tokens]:
    """With the adapters in the model and all of its own weights frozen; as before afterwards."""
    factors: dict[str, dict[int, Factors]] = {}
    for i, adapter in enumerate(adapters):
        for name, found in adapter.modules.items():
            factors.setdefault(name, {})[i] = found
    bases: dict[str, Any] = {name: model.get_submodule(name) for name in factors}
    trained = [p for p in model.parameters() if p.requires_grad]
    model.requires_grad_(False)
    tokens = Tokens()
    for name, base in bases.items():
        model.set_submodule(name, PackedLinear(base, factors[name], tokens))
    try:
        yield tokens
    finally:
        for name, base in bases.items():
            model.set_submodule(name, base)
        for parameter in trained:
            parameter.requires_grad_(True)
