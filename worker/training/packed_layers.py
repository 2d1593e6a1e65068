"""Frozen layers with the adapters of several configurations, each for its own rows of the batch.

    rows of a batch     | configuration 0 | configuration 1 | … | configuration K − 1 |
    frozen weights      one product for all rows together
    adapters            batched products: each configuration's rows with its own A and B

The weights of all configurations of a rank lie in one tensor, and so do their gradients, which the backward pass writes
in place: clipping and AdamW take a few operations a configuration instead of some hundred.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn import functional as F  # noqa: N812 (its usual name)

Weights = dict[str, tuple[Tensor, Tensor]]  # by module name: A (r, in) and B (out, r)


@dataclass(frozen=True)
class Factors:
    """A and B of one module for all configurations of a group, views of the group's tensors."""

    a: Tensor  # (G, r, in)
    b: Tensor  # (G, out, r)
    a_gradient: Tensor
    b_gradient: Tensor
    scale: Tensor  # (G, 1, 1)
    first: int  # the group's first configuration, in packed order


class Group:
    """Configurations of one rank and one choice of modules."""

    def __init__(self, members: Sequence[Weights], scales: Sequence[float], first: int) -> None:
        """Takes the members over: what they name are views of the group's tensors from now on."""
        like = next(iter(members[0].values()))[0]
        sizes = [sum(matrix.numel() for matrix in column) for column in zip(*members[0].values(), strict=True)]
        # Everything of A, then everything of B; a row a configuration.
        self.weights = [like.new_empty(len(members), size) for size in sizes]
        self.gradients = [torch.zeros_like(weights) for weights in self.weights]
        self.scale = like.new_tensor(scales).view(-1, 1, 1)
        self.first = first
        self.modules = dict(self._views(members[0]))
        for i, member in enumerate(members):
            for name, (a, b) in member.items():
                factors = self.modules[name]
                member[name] = factors.a[i].copy_(a), factors.b[i].copy_(b)

    def _views(self, shapes: Weights) -> Iterator[tuple[str, Factors]]:
        offsets = [0, 0]
        for name, pair in shapes.items():
            views = []
            for i, matrix in enumerate(pair):
                place = slice(offsets[i], offsets[i] + matrix.numel())
                views += [whole[:, place].view(-1, *matrix.shape) for whole in (self.weights[i], self.gradients[i])]
                offsets[i] = place.stop
            a, a_gradient, b, b_gradient = views
            yield name, Factors(a, b, a_gradient, b_gradient, self.scale, self.first)

    def leaves(self, member: int) -> list[Parameter]:
        """What an optimizer gets of a configuration: all of A, all of B, in the memory of weights and gradients."""
        found = [Parameter(weights[member]) for weights in self.weights]
        for leaf, gradients in zip(found, self.gradients, strict=True):
            leaf.grad = gradients[member]
        return found


class PackedLinear(nn.Module):
    """A frozen linear layer with the adapters of the configurations that target it, of `count` in the batch."""

    def __init__(self, base: nn.Linear, factors: list[Factors], count: int) -> None:
        super().__init__()
        self.base, self.factors, self.count = base, factors, count
        # Makes autograd come by even where neither the input nor the frozen weight asks for a gradient.
        self.anchor = torch.zeros((), device=base.weight.device, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = PackedProduct.apply(x.contiguous(), self.anchor, self)
        return y

    def slices(self, x: Tensor, f: Factors) -> Tensor:
        """The rows of a group's configurations in x, (K · batch, T, C): a view, (G, batch · T, C)."""
        batch = x.shape[0] // self.count
        rows = x[f.first * batch : (f.first + len(f.a)) * batch]
        return rows.view(len(f.a), -1, x.shape[-1])


class PackedProduct(torch.autograd.Function):
    """x Wᵀ + bias, plus scale · x Aᵀ Bᵀ with each configuration's own A and B."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, _anchor: Tensor, layer: PackedLinear) -> Tensor:
        """`x` is (K · batch, T, in)."""
        y = F.linear(x, layer.base.weight, layer.base.bias)
        lows = []
        for f in layer.factors:
            low = torch.bmm(layer.slices(x, f), f.a.mT).mul_(f.scale)  # (G, batch · T, r)
            layer.slices(y, f).baddbmm_(low, f.b.mT)
            lows.append(low)
        ctx.save_for_backward(x, *lows)
        ctx.layer = layer
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        layer: PackedLinear = ctx.layer
        gradient = gradients[0].contiguous()
        x, *lows = ctx.saved_tensors
        to_input = gradient @ layer.base.weight if ctx.needs_input_grad[0] else None
        for f, low in zip(layer.factors, lows, strict=True):
            above = layer.slices(gradient, f)  # (G, batch · T, out)
            to_low = torch.bmm(above, f.b).mul_(f.scale)
            # Written, not added: a step has one backward pass, and every layer is used in it once.
            torch.bmm(above.mT, low, out=f.b_gradient)
            torch.bmm(to_low.mT, layer.slices(x, f), out=f.a_gradient)
            if to_input is not None:
                layer.slices(to_input, f).baddbmm_(to_low, f.a)
        return to_input, None, None


@contextmanager
def packed_layers(model: nn.Module, groups: Sequence[Group], count: int) -> Iterator[None]:
    """With the groups' adapters in the model and all of its own weights frozen; as before afterwards."""
    factors: dict[str, list[Factors]] = {}
    for group in groups:
        for name, found in group.modules.items():
            factors.setdefault(name, []).append(found)
    bases: dict[str, Any] = {name: model.get_submodule(name) for name in factors}
    trained = [p for p in model.parameters() if p.requires_grad]
    model.requires_grad_(False)
    for name, base in bases.items():
        model.set_submodule(name, PackedLinear(base, factors[name], count))
    try:
        yield
    finally:
        for name, base in bases.items():
            model.set_submodule(name, base)
        for parameter in trained:
            parameter.requires_grad_(True)
