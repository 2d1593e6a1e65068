"""Weights in few bits: what a block format stores and gives back, and models with 4-bit linear layers."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from bitsandbytes.functional import (
    QuantState,
    dequantize_4bit,
    dequantize_blockwise,
    get_4bit_type,
    quantize_blockwise,
)
from bitsandbytes.nn.modules import Linear4bit, Params4bit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import PreTrainedModel

Format = Literal["nf4", "fp4", "int4", "int8"]
FourBit = Literal["nf4", "fp4"]

CONSTANTS_BLOCK = 256  # constants that share a constant under double quantisation, as in QLoRA
LAYER_NUMBER = re.compile(r"\blayers?\.(\d+)\.")


@dataclass(frozen=True)
class Quantised:
    """A weight after a round trip: what is read back, and all tensors that had to be stored for it."""

    weight: Tensor
    stored: list[Tensor]


def quantise(weight: Tensor, form: Format, block: int, *, double: bool) -> Quantised:
    """Store a weight in blocks with a scale each, their largest absolute value, and read it back.

    Codes are the nearest levels, as bitsandbytes computes them (tested), only quicker on a CPU. The last block may be a
    shorter one. `double` stores the scales themselves in 8 bits (Dettmers et al. 2023, section 3).
    """
    table = levels(form).to(weight.device)
    blocks = F.pad(weight.flatten().float(), (0, -weight.numel() % block)).reshape(-1, block)
    scale = blocks.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    codes = _nearest(blocks / scale[:, None], form)
    read, constants = _store_constants(scale) if double else (scale, [scale])
    back = table.index_select(0, codes.flatten().int()).view_as(blocks) * read[:, None]
    packed = _pack(codes.flatten()[: weight.numel()], form)
    return Quantised(
        back.flatten()[: weight.numel()].view_as(weight).to(weight.dtype), [packed, *constants, levels(form)]
    )


@lru_cache
def levels(form: Format) -> Tensor:
    """What a code can stand for, in units of the block's largest absolute value, in ascending order.

    Integers are symmetric: fifteen or 255 equal steps around an exact zero.
    """
    if form in ("nf4", "fp4"):
        return get_4bit_type(form, device="cpu").sort().values
    largest = 7 if form == "int4" else 127
    return torch.arange(-largest, largest + 1) / largest


def _nearest(scaled: Tensor, form: Format) -> Tensor:
    """The code of the nearest level for numbers between -1 and 1."""
    if form in ("int4", "int8"):
        largest = len(levels(form)) // 2
        return (scaled * largest).round().add(largest).to(torch.uint8)
    table = levels(form)
    codes = torch.zeros_like(scaled, dtype=torch.uint8)
    for border in ((table[1:] + table[:-1]) / 2).tolist():  # twice as fast as torch.bucketize
        codes += scaled > border
    return codes


def _store_constants(scale: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The scales as double quantisation reads them back, as bitsandbytes does it for its 4-bit formats."""
    offset = scale.mean()
    packed, state = quantize_blockwise(scale - offset, blocksize=CONSTANTS_BLOCK)
    return dequantize_blockwise(packed, state) + offset, [packed, offset, *state_tensors(state)]


def _pack(codes: Tensor, form: Format) -> Tensor:
    """Whole bytes: two 4-bit codes in one."""
    if form == "int8":
        return codes
    padded = F.pad(codes, (0, codes.numel() % 2))
    return padded[::2] << 4 | padded[1::2]


def state_tensors(state: QuantState) -> list[Tensor]:
    """Constants and tables that belong to packed codes, with those of double quantisation."""
    nested = state_tensors(state.state2) if state.nested else []
    return [t for t in (state.absmax, state.code, state.offset) if t is not None] + nested


def stored_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors that may share memory (tied weights, tables): what is shared counts once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def relative_error(weight: Tensor, original: Tensor) -> float:
    """Frobenius norm of the difference over that of the original."""
    return ((weight - original).norm() / original.norm()).item()


# --- models -----------------------------------------------------------------------------------------------------------


def layer_linears(model: nn.Module) -> Iterator[tuple[str, int, nn.Linear]]:
    """Name, number of the layer and module of each linear map inside a model's layers.

    That is what QLoRA quantises: embeddings, norms and the output layer stay as they are.
    """
    for name, module in model.named_modules():
        number = LAYER_NUMBER.search(name)
        if number and isinstance(module, nn.Linear):
            yield name, int(number[1]), module


def to_four_bit(model: PreTrainedModel, form: FourBit = "nf4", *, double: bool = True) -> PreTrainedModel:
    """Replace the linear layers by bitsandbytes' 4-bit ones, in place; they compute in the format the weights had.

    On processors with AVX512-BF16 bitsandbytes repacks the codes in the first pass in evaluation mode, for a kernel of
    its own. Whatever dequantises them later, training and merging among them, then reads wrong weights without an
    error. So that path is turned off.
    """
    for name, _, linear in list(layer_linears(model)):
        layer = Linear4bit(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            compute_dtype=linear.weight.dtype,
            device="meta",
        )
        layer.weight = four_bit_weight(linear.weight.data, form, double=double)
        layer.bias = linear.bias
        layer.support_avx512bf16_for_cpu = False
        model.set_submodule(name, layer.train(linear.training))
    _mark(model, is_four_bit=True)
    return model


def four_bit_weight(weight: Tensor, form: FourBit, *, double: bool) -> Params4bit:
    """The weight in bitsandbytes' own form; the move to a device is what quantises it."""
    raw: Any = Params4bit(
        weight.cpu(),
        requires_grad=False,
        compress_statistics=double,
        quant_type=form,
        blocksize=four_bit_block(weight.shape[1]),
    )
    return raw.to(weight.device)


def four_bit_block(in_features: int) -> int:
    """64 weights, as in QLoRA, or 32 in rows that these do not divide; ValueError for rows that neither does.

    bitsandbytes' own dequantisation on processors with AVX-512 counts blocks by row, not over the whole matrix as its
    quantisation does, and gives wrong weights where a block reaches into the next row.
    """
    for block in (64, 32):
        if in_features % block == 0:
            return block
    raise ValueError(f"Invalid width of a 4-bit layer: {in_features} (must be a multiple of 32)")


def dequantised(layer: Linear4bit) -> Tensor:
    """What a 4-bit layer multiplies with."""
    weight: Any = layer.weight
    return dequantize_4bit(weight.data, weight.quant_state)


def from_four_bit(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Replace 4-bit layers by ordinary ones with the weights that they multiply with, in place."""
    for name, _, module in list(layer_linears(model)):
        if isinstance(module, Linear4bit):
            model.set_submodule(name, ordinary_linear(module, dequantised(module).to(dtype)))
    _mark(model, is_four_bit=False)
    return model


def _mark(model: Any, *, is_four_bit: bool) -> None:
    """PEFT looks at this to choose its own 4-bit layer."""
    model.is_loaded_in_4bit = is_four_bit


def ordinary_linear(layer: nn.Linear, weight: Tensor) -> nn.Linear:
    """An ordinary frozen layer with that weight and the layer's own bias."""
    linear = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    linear.bias = layer.bias
    return linear.train(layer.training)


def model_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Every tensor that a model keeps: parameters, buffers, and the constants of 4-bit weights."""
    for tensor in (*model.parameters(), *model.buffers()):
        yield tensor
        state: Any = getattr(tensor, "quant_state", None)
        if state is not None:
            yield from state_tensors(state)
