"""Quantisation: bits of block formats, the NF4 grid, entropies of codes and the spacing of floating-point numbers."""

import math
from collections.abc import Callable
from itertools import pairwise

from labs.formulas.lora import (
    in_unit,
    linear_parameters,
    lora_training_size,
    model_parameters,
    nf4_bits_per_parameter,
    qlora_training_size,
)

# Dettmers et al. 2023 (QLoRA), appendix E: the sixteen levels, in units of a block's largest absolute value
NF4_LEVELS = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
# explicit bits of the significand (IEEE 754; bfloat16 is float32 without its last 16 bits)
FRACTION_BITS = {"fp32": 23, "fp16": 10, "bf16": 7}


def block_format_bits(element_bits: int, block: int, scale_bits: int, zero_bits: int = 0) -> float:
    """Bits a weight costs when every `block` weights share a scale and, if asymmetric, a zero point."""
    return element_bits + (scale_bits + zero_bits) / block


def constants_size(model: str, block: int = 64, double_quantisation: bool = False, unit: str = "B") -> float:
    """Size of NF4's block constants for the linear layers of all blocks of a model."""
    bits = nf4_bits_per_parameter(double_quantisation, block) - 4
    return in_unit(linear_parameters(model) * bits / 8, unit)


def block_base_size(model: str, bits_per_weight: float, unit: str = "B", rest_bytes: int = 2) -> float:
    """A base whose block layers cost `bits_per_weight`; embeddings, output head and norms keep `rest_bytes` a value."""
    quantised = linear_parameters(model)
    return in_unit(quantised * bits_per_weight / 8 + (model_parameters(model) - quantised) * rest_bytes, unit)


def nf4_naive_size(model: str, unit: str = "GB") -> float:
    """Half a byte for every parameter: what remains when constants and 16-bit layers are forgotten."""
    return in_unit(model_parameters(model) / 2, unit)


def compression_against_16_bits(model: str, bits_per_weight: float) -> float:
    """How many times smaller the quantised base is than the 16-bit one, with 16-bit embeddings, head and norms."""
    return 2 * model_parameters(model) / block_base_size(model, bits_per_weight)


def nf4_level(weight: float, absmax: float) -> float:
    """The NF4 level, in units of `absmax`, that is nearest to `weight`."""
    return min(NF4_LEVELS, key=lambda level: abs(level - weight / absmax))


def nf4_round(weight: float, absmax: float) -> float:
    """What is read back after `weight` was stored in a block whose largest absolute value is `absmax`."""
    return absmax * nf4_level(weight, absmax)


def int4_round(weight: float, absmax: float) -> float:
    """The same on a symmetric 4-bit integer grid: fifteen equal steps of absmax / 7 from -7 to 7."""
    return absmax / 7 * round(7 * weight / absmax)


def nf4_step(absmax: float, narrowest: bool = True) -> float:
    """The narrowest (or widest) gap between neighbouring NF4 levels of a block."""
    gaps = [high - low for low, high in pairwise(NF4_LEVELS)]
    return absmax * (min(gaps) if narrowest else max(gaps))


def float_spacing(value: float, precision: str) -> float:
    """Distance from `value` to the next larger number of a format (normal range): 2^(exponent - fraction bits)."""
    return float(2.0 ** (math.floor(math.log2(abs(value))) - fraction_bits(precision)))


def fraction_bits(precision: str) -> int:
    """Explicit bits of a format's significand."""
    if precision not in FRACTION_BITS:
        raise ValueError(f"Unknown precision {precision!r}; known: {', '.join(FRACTION_BITS)}")
    return FRACTION_BITS[precision]


def code_entropy(counts: str) -> float:
    """Entropy in bits of quantised codes that occur `counts` times, e.g. `8,4,2,2` (Qin et al. 2024, section 3.2)."""
    numbers = [float(count) for count in counts.split(",")]
    total = sum(numbers)
    return -sum(n / total * math.log2(n / total) for n in numbers if n)


def normal_share(low: float, high: float) -> float:
    """Probability that a standard normal number lies between two bounds."""
    return (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2


def equal_steps_tail_share(levels: int, absmax_sigmas: float) -> float:
    """Share of normal weights that the outer half of `levels` equal steps serves, in percent.

    The grid reaches from -absmax to +absmax, `absmax_sigmas` standard deviations each way; the outer half of the
    levels covers what is further from zero than half of absmax.
    """
    if levels % 2:
        raise ValueError(f"The number of levels has to be even, not {levels}")
    return 100 * (1 - normal_share(-absmax_sigmas / 2, absmax_sigmas / 2))


def nf4_code_share_percent(level: int, absmax_sigmas: float) -> float:
    """How often NF4 code `level` (0 to 15) is used by normal weights in a block, in percent.

    The block's largest weight is `absmax_sigmas` standard deviations; what lies beyond it belongs to the end codes.
    """
    middles = [(low + high) / 2 * absmax_sigmas for low, high in pairwise(NF4_LEVELS)]
    edges = [-math.inf, *middles, math.inf]
    return 100 * normal_share(edges[level], edges[level + 1])


def nf4_code_entropy(absmax_sigmas: float) -> float:
    """Entropy in bits of the NF4 codes of normal weights, under the same assumption."""
    return code_entropy(",".join(str(nf4_code_share_percent(level, absmax_sigmas)) for level in range(16)))


def qlora_saving_percent(model: str, targets: str, rank: int, activations: float = 0.0) -> float:
    """What QLoRA saves against bf16 LoRA of the same shape, in percent; `activations` in GB are added to both."""
    quantised = qlora_training_size(model, targets, rank, "GB") + activations
    plain = lora_training_size(model, targets, rank, "bf16", unit="GB", adapter_precision="bf16") + activations
    return 100 * (1 - quantised / plain)


FORMULAS: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        block_format_bits,
        constants_size,
        block_base_size,
        nf4_naive_size,
        compression_against_16_bits,
        nf4_level,
        nf4_round,
        int4_round,
        nf4_step,
        float_spacing,
        fraction_bits,
        code_entropy,
        normal_share,
        equal_steps_tail_share,
        nf4_code_share_percent,
        nf4_code_entropy,
        qlora_saving_percent,
    )
}
