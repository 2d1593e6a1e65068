"""Running a training step without numbers: fake tensors, and stand-ins for what would need numbers or a GPU."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import masking_utils

from worker.memory.attention import cuda_attention


@contextmanager
def fake_tensors(*, on_cuda: bool) -> Iterator[None]:
    """Within the block no tensor has data; on_cuda puts the GPU's kernels in the place of the CPU's.

    Tensors are on the CPU all the same, because a build without CUDA refuses others. Functions are replaced where they
    are looked up, not by a mode, which would be off while the backward pass computes blocks again.
    """
    replaced = [*VALUES, *(CUDA if on_cuda else [])]
    with FakeTensorMode(allow_non_fake_inputs=True), ExitStack() as stack:
        for owner, name, function in replaced:
            stack.enter_context(mock.patch.object(owner, name, function))
        search = masking_utils.find_packed_sequence_indices
        stack.enter_context(mock.patch.object(masking_utils, search.__name__, _one_example_a_row(search)))
        yield


# --- values -----------------------------------------------------------------------------------------------------------


def _item(tensor: Tensor) -> float | bool:
    """What optimizers read: a count of steps, a norm, a threshold. No size depends on it."""
    return 1.0 if tensor.is_floating_point() else True


def _tolist(tensor: Tensor) -> list[Any]:
    return [_item(tensor)] * tensor.numel()


VALUES: list[tuple[Any, str, Callable[..., Any]]] = [
    (Tensor, "item", _item),
    (Tensor, "tolist", _tolist),
    (Tensor, "__bool__", lambda _tensor: True),
    (Tensor, "__float__", lambda _tensor: 1.0),
]


def _one_example_a_row(search: Callable[..., Any]) -> Callable[..., None]:
    """transformers looks into the positions for several examples in a row, and builds a mask when it cannot see them.

    The rows of a recipe hold one each, so that a real step builds none.
    """

    @wraps(search)
    def find_none(*args: Any, **kwargs: Any) -> None:
        search(*args, **kwargs)

    return find_none


# --- the GPU ----------------------------------------------------------------------------------------------------------


def _dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """The fused kernel, which keeps a mask of bytes; the CPU's keeps one in the format of x."""
    if not training or p == 0:
        return x
    dropped: Tensor = torch.native_dropout(x, p, train=True)[0]
    return dropped


def _in_float32(func: Callable[..., Any]) -> Callable[..., Any]:
    """Under autocast a GPU computes these in float32, a CPU does not (torch/csrc/autocast_mode, fp32 lists)."""

    def cast(x: Any) -> Any:
        is_half = isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16)
        return x.float() if is_half else x

    @wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        if torch.is_autocast_enabled("cpu"):
            args, kwargs = tuple(cast(x) for x in args), {name: cast(x) for name, x in kwargs.items()}
        return func(*args, **kwargs)

    return run


IN_FLOAT32: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (torch, ("pow", "exp", "log", "rsqrt", "softmax", "layer_norm", "cumsum", "sum", "prod", "norm")),
    (Tensor, ("pow", "__pow__", "exp", "rsqrt", "softmax", "cumsum", "sum", "norm")),
    (F, ("softmax", "log_softmax", "layer_norm", "softplus")),
)
CUDA: list[tuple[Any, str, Callable[..., Any]]] = [
    (F, "scaled_dot_product_attention", cuda_attention),
    (F, "dropout", _dropout),
    *((owner, name, _in_float32(getattr(owner, name))) for owner, names in IN_FLOAT32 for name in names),
]
