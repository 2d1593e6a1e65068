"""Layers of 4 and 8 bits without weights: the stored tensors of bitsandbytes' layers, and its operators inside out."""

from typing import Any

import torch
from bitsandbytes.autograd._functions import MatMul4Bit, MatMul8bitFp, MatMul8bitLt, MatmulLtState
from bitsandbytes.functional import QuantState, dequantize_4bit, int8_vectorwise_dequant
from bitsandbytes.nn.modules import Int8Params, Linear4bit, Linear8bitLt
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers.pytorch_utils import Conv1D

from labs.memory.recipe import FOUR_BIT, Recipe
from worker.memory.tracker import BLOCK, OPENED
from worker.quantisation import CONSTANTS_BLOCK, four_bit_block

CODES = 16
DYNAMIC_CODES = 256  # of the 8-bit code that double quantisation stores the scales in


class Planned4bit(Linear4bit):
    """A layer that PEFT takes for bitsandbytes' own, with its tensors on any device."""

    def __init__(self, linear: Any, recipe: Recipe, compute_dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = shape_of(linear)
        self.compute_dtype = compute_dtype
        self.bias = linear.bias
        self.is_nested = recipe.double_quantisation
        count = self.in_features * self.out_features
        self.block = four_bit_block(self.in_features)
        scales = -(-count // self.block)
        codes: Any = nn.Parameter(torch.empty((count + 1) // 2, 1, dtype=torch.uint8, device="meta"), False)
        codes.compress_statistics, codes.quant_type, codes.quant_state = self.is_nested, recipe.weights, None
        self.weight: Any = codes
        self.form = recipe.weights
        self._keep("code", torch.empty(CODES, device="meta"))
        if self.is_nested:
            self._keep("scales", torch.empty(scales, dtype=torch.uint8, device="meta"))
            self._keep("offset", torch.empty((), device="meta"))
            self._keep("outer_scales", torch.empty(-(-scales // CONSTANTS_BLOCK), device="meta"))
            self._keep("outer_code", torch.empty(DYNAMIC_CODES, device="meta"))
        else:
            self._keep("scales", torch.empty(scales, device="meta"))

    def _keep(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name, tensor, persistent=False)

    @property
    def stored(self) -> QuantState:
        """Put together again each time, because the buffers are replaced when the model leaves the meta device."""
        outer = None
        if self.is_nested:
            outer = QuantState(
                absmax=self.outer_scales, code=self.outer_code, blocksize=CONSTANTS_BLOCK, dtype=torch.float32
            )
        return QuantState(
            absmax=self.scales,
            shape=torch.Size((self.out_features, self.in_features)),
            code=self.code,
            blocksize=self.block,
            quant_type=self.form,
            dtype=self.compute_dtype,
            offset=self.offset if self.is_nested else None,
            state2=outer,
        )

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(self.compute_dtype)
        out: Tensor = MatMul4Bit.apply(x.to(self.compute_dtype), self.weight, None, bias, self.stored)
        return out.to(x.dtype)

    @property
    def W_q(self) -> Tensor:  # noqa: N802
        """Makes PEFT ask `dequantize`; else it knows quantised weights by the class of the parameter."""
        return self.weight

    def dequantize(self) -> Tensor:
        return dequantize_4bit(self.weight.data, self.stored)


class Planned8bit(Linear8bitLt):
    """The same for bitsandbytes' 8-bit layer, without its outlier threshold, whose columns depend on data."""

    def __init__(self, linear: Any, *, on_cuda: bool) -> None:
        nn.Module.__init__(self)
        self.product = MatMul8bitLt if on_cuda else MatMul8bitFp  # a CPU dequantises the weight first
        self.out_features, self.in_features = shape_of(linear)
        self.bias = linear.bias
        self.index = None
        shape = (self.out_features, self.in_features)
        self.weight: Any = nn.Parameter(torch.empty(shape, dtype=torch.int8, device="meta"), False)
        self.scales: Tensor
        self.register_buffer("scales", torch.empty(self.out_features, device="meta"), persistent=False)
        self.state = MatmulLtState()
        self.state.has_fp16_weights = False

    def forward(self, x: Tensor) -> Tensor:
        self.state.CB, self.state.SCB = self.weight.data, self.scales
        self.state.is_training = self.training
        out: Tensor = self.product.apply(x, self.weight, None, self.bias, self.state)
        return out

    @property
    def W_q(self) -> Tensor:  # noqa: N802
        return self.weight

    def dequantize(self) -> Tensor:
        return int8_vectorwise_dequant(self.weight.data, self.scales)


def shape_of(linear: Any) -> tuple[int, int]:
    """Outputs and inputs; GPT-2 stores its matrices the other way round."""
    rows, columns = linear.weight.shape
    return (columns, rows) if isinstance(linear, Conv1D) else (rows, columns)


def quantise_layers(model: nn.Module, recipe: Recipe, compute_dtype: torch.dtype, *, on_cuda: bool) -> None:
    """Replace the linear layers inside the blocks of a model on the meta device, in place."""
    for name, module in list(model.named_modules()):
        if BLOCK.search(name) and isinstance(module, nn.Linear | Conv1D):
            layer: nn.Module
            if recipe.weights in FOUR_BIT:
                layer = Planned4bit(module, recipe, compute_dtype)
            else:
                layer = Planned8bit(module, on_cuda=on_cuda)
            model.set_submodule(name, layer)
    _tell_peft(model, recipe)


def to_eight_bit(model: nn.Module, recipe: Recipe) -> None:
    """Replace the linear layers of a model with numbers by bitsandbytes' 8-bit ones, in place."""
    for name, module in list(model.named_modules()):
        if BLOCK.search(name) and isinstance(module, nn.Linear):
            has_bias = module.bias is not None
            layer = Linear8bitLt(module.in_features, module.out_features, has_bias, has_fp16_weights=False)
            layer.weight = Int8Params(module.weight.data, requires_grad=False, has_fp16_weights=False)
            layer.bias = module.bias
            model.set_submodule(name, layer.to("cpu"))
    _tell_peft(model, recipe)


def _tell_peft(model: Any, recipe: Recipe) -> None:
    """PEFT looks at these to choose its own layers."""
    model.is_loaded_in_4bit = recipe.weights in FOUR_BIT
    model.is_loaded_in_8bit = recipe.weights == "int8"


# --- what bitsandbytes' operators do inside ---------------------------------------------------------------------------


def gemm_4bit(  # noqa: PLR0917 (the signature is that of what it stands for)
    x: Tensor,
    codes: Tensor,
    shape: list[int],
    absmax: Tensor,
    blocksize: int,
    quant_type: str,
    bias: Tensor | None = None,
    absmax_8bit: Tensor | None = None,
    absmax_code: Tensor | None = None,
    absmax_offset: Tensor | None = None,
) -> Tensor:
    """Dequantise, then multiply: what bitsandbytes does on CPUs, and on GPUs from a few hundred rows on.

    The GPU's version keeps one more copy of the scales until the end, which is 1/16 of a bit a weight.
    """
    if absmax_8bit is not None:
        inner = torch.ops.bitsandbytes.dequantize_blockwise.default(
            absmax_8bit, absmax, absmax_code, CONSTANTS_BLOCK, torch.float32
        )
        absmax = inner + absmax_offset
        del inner
    weight = torch.ops.bitsandbytes.dequantize_4bit.default(codes, absmax, blocksize, quant_type, shape, x.dtype)
    return F.linear(x, weight, bias)


def int8_scaled_mm(  # noqa: PLR0917 (the signature is that of what it stands for)
    a: Tensor,
    b: Tensor,
    row_stats: Tensor,
    col_stats: Tensor,
    bias: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The product in 32-bit integers, then scaled."""
    product = torch.ops.bitsandbytes.int8_linear_matmul.default(a, b)
    out: Tensor = torch.ops.bitsandbytes.int8_mm_dequant.default(
        product, row_stats, col_stats, dtype=dtype or torch.float16, bias=bias
    )
    return out


OPENED[torch.ops.bitsandbytes.gemm_4bit.default] = gemm_4bit
OPENED[torch.ops.bitsandbytes.int8_scaled_mm.default] = int8_scaled_mm
