"""What the attention kernels of a GPU keep and need: a CPU build of PyTorch cannot ask them.

The choice of kernel follows aten/src/ATen/native/transformers/cuda/sdp_utils.cpp, what they allocate the wrappers in
flash_attn/flash_api.cpp and cuda/attention.cu of the same folder.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.nn.attention import SDPBackend, sdpa_kernel

sdpa = F.scaled_dot_product_attention  # here, because cuda_attention may stand in its place

Kernel = Literal["flash", "efficient", "math"]

LARGEST_HEAD = 256
FLASH_ROWS = 128  # to a multiple of which the backward pass of flash attention rounds the sequence
EFFICIENT_ROWS = 32  # the alignment of the efficient kernel's logsumexp


def cuda_kernel(query: Tensor, *, has_mask: bool, is_grouped: bool) -> Kernel:
    """Which kernel PyTorch takes: flash needs 16 bits and no mask, the efficient one as many keys as queries."""
    if query.shape[-1] > LARGEST_HEAD:
        return "math"
    if query.dtype in (torch.float16, torch.bfloat16) and not has_mask:
        return "flash"
    return "math" if is_grouped else "efficient"


def cuda_attention(  # noqa: PLR0917 (the signature is that of what it stands for)
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """In place of F.scaled_dot_product_attention: tensors (B, H, T, D), and the memory of the GPU's kernel."""
    is_grouped = enable_gqa and key.shape[1] != query.shape[1]
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(f"attention over {query.dtype} queries, {key.dtype} keys and {value.dtype} values")
    kernel = cuda_kernel(query, has_mask=attn_mask is not None, is_grouped=is_grouped)
    if kernel == "math":
        with sdpa_kernel(SDPBackend.MATH):
            return sdpa(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    chosen: Any = Flash if kernel == "flash" else Efficient
    out: Tensor = chosen.apply(query, key, value)
    return out


class Flash(torch.autograd.Function):
    """Keeps queries, keys, values, output, logsumexp and two numbers of the random generator."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, heads, length, width = query.shape
        out = query.new_empty(batch, length, heads, width).transpose(1, 2)
        logsumexp = query.new_empty(batch, heads, length, dtype=torch.float32)
        seed, offset = query.new_empty(2, dtype=torch.int64), query.new_empty((), dtype=torch.int64)
        ctx.save_for_backward(query, key, value, out, logsumexp, seed, offset)
        return out

    @staticmethod
    def backward(ctx: Any, *_gradients: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients, and two float32 buffers: sums a row, and the gradient of the queries before it is rounded.

        Grouped keys and values first get a gradient for each head.
        """
        query, key, value, *_ = ctx.saved_tensors
        batch, heads, length, width = query.shape
        rows = -(-length // FLASH_ROWS) * FLASH_ROWS
        columns = -(-width // 32) * 32 if width <= 192 else LARGEST_HEAD
        grads = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        sums = query.new_empty(batch, heads, rows, dtype=torch.float32)
        accumulated = query.new_empty(batch, rows, heads, columns, dtype=torch.float32)
        expanded = []
        if key.shape[1] != heads:
            expanded = [query.new_empty(batch, key.shape[2], heads, width) for _ in (key, value)]
        del sums, accumulated, expanded
        return grads


class Efficient(torch.autograd.Function):
    """The memory-efficient kernel: as flash attention, with a padded logsumexp and sums a row in the backward pass."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, heads, length, width = query.shape
        out = query.new_empty(batch, length, heads, width).transpose(1, 2)
        rows = -(-length // EFFICIENT_ROWS) * EFFICIENT_ROWS
        logsumexp = query.new_empty(batch, heads, rows, dtype=torch.float32)
        seed, offset = query.new_empty((), dtype=torch.int64), query.new_empty((), dtype=torch.int64)
        ctx.save_for_backward(query, key, value, out, logsumexp, seed, offset)
        return out

    @staticmethod
    def backward(ctx: Any, *_gradients: Any) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, *_ = ctx.saved_tensors
        batch, heads, length, _ = query.shape
        grads = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        sums = query.new_empty(batch, heads, length, dtype=torch.float32)
        del sums
        return grads


# --- the flash-attn package -------------------------------------------------------------------------------------------


def flash_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, **_more: Any
) -> tuple[Tensor, None]:
    """In place of transformers' attention function of that package, which casts float32 to 16 bits first."""
    if query.dtype == torch.float32:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else module.config.dtype
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    out: Tensor = Flash.apply(query, key, value)
    return out.transpose(1, 2), None
