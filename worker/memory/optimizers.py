"""The optimizers of a recipe: PyTorch's and bitsandbytes' own, in the implementation that the device gets."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from bitsandbytes.optim.adamw import AdamW8bit
from torch import Tensor, nn

from labs.memory.recipe import Optimizer

PAGED_FROM = 100_000  # elements of a parameter from which bitsandbytes pages its states (Optimizer8bit)
RATE = 1e-4


def make_optimizer(kind: Optimizer, parameters: Sequence[nn.Parameter], *, on_cuda: bool) -> torch.optim.Optimizer:
    """On a GPU PyTorch's AdamW and SGD work on lists of all parameters at once, on a CPU on one after the other."""
    if kind == "adamw":
        return torch.optim.AdamW(parameters, lr=RATE, foreach=on_cuda)
    if kind == "adamw-fused":
        return torch.optim.AdamW(parameters, lr=RATE, fused=True)
    if kind == "sgd":
        return torch.optim.SGD(parameters, lr=RATE, foreach=on_cuda)
    if kind == "adafactor":
        return torch.optim.Adafactor(parameters, lr=RATE)
    optimizer: torch.optim.Optimizer = AdamW8bit(parameters, lr=RATE)
    return optimizer


def state_tensors(optimizer: torch.optim.Optimizer) -> Iterator[tuple[Tensor, str, Tensor]]:
    """Parameter, name and tensor of all states."""
    for parameter, states in optimizer.state.items():
        for name, state in states.items():
            if isinstance(state, Tensor):
                yield parameter, name, state


def is_on_host(kind: Optimizer, parameter: Tensor, name: str, state: Tensor) -> bool:
    """Counters of steps are on the CPU unless the optimizer is fused; large paged states are in managed memory."""
    if name == "step":
        return kind != "adamw-fused"
    return kind == "paged-adamw-8bit" and name in ("state1", "state2") and parameter.numel() >= PAGED_FROM


def clip(parameters: Iterable[nn.Parameter], *, on_cuda: bool) -> None:
    """Clip the gradients' norm to 1."""
    nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True if on_cuda else None)
