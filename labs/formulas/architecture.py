"""Transformer background: feed-forward widths, activations, caches and rotary positions.

Every function is pure, and every argument is an int, a float, a bool or a string, so that a content file can name it.
"""

import math
from collections.abc import Callable

from labs.formulas.lora import bytes_per_value, in_unit, linear_parameters, model_shape

# Feed-forward layers


def ffn_parameters(hidden: int, intermediate: int, gated: bool) -> int:
    """Weights of a feed-forward layer without biases: up and down, and for a gated one the gate as well."""
    return (3 if gated else 2) * hidden * intermediate


def gated_width(hidden: int, expansion: int = 4, multiple: int = 1) -> int:
    """Width of a gated layer with the parameters of an ungated one of `expansion` x hidden, rounded up to `multiple`.

    Shazeer 2020, section 2: two thirds of the width. LLaMA's code rounds up to a multiple of 256.
    """
    return multiple * math.ceil(2 * expansion * hidden // 3 / multiple)


def gated_ffn_parameters(hidden: int, expansion: int = 4, multiple: int = 1) -> int:
    """Weights of a gated layer whose width is chosen by `gated_width`."""
    return ffn_parameters(hidden, gated_width(hidden, expansion, multiple), gated=True)


def ffn_share_percent(model: str) -> float:
    """The part of the weights of a model's blocks that sits in the feed-forward layers, in percent."""
    shape = model_shape(model)
    ffn = shape.layers * ffn_parameters(shape.hidden, shape.intermediate, shape.gated)
    return 100 * ffn / linear_parameters(model)


# Activations


def gelu(x: float) -> float:
    """x times the normal distribution function at x (Hendrycks and Gimpel 2016)."""
    return x * _normal_cdf(x)


def gelu_tanh(x: float) -> float:
    """The approximation of GELU by tanh, same paper, section 2."""
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_tanh_max_error(bound: float = 6.0, points: int = 24_001) -> float:
    """Largest absolute difference between GELU and its tanh approximation on a grid over [-bound, bound]."""
    grid = (bound * (2 * i / (points - 1) - 1) for i in range(points))
    return max(abs(gelu(x) - gelu_tanh(x)) for x in grid)


def gelu_gradient(x: float) -> float:
    """Derivative of GELU: the distribution function plus x times the density."""
    return _normal_cdf(x) + x * math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def sigmoid_gradient(x: float) -> float:
    """Derivative of the sigmoid, at most 1/4."""
    return _sigmoid(x) * (1 - _sigmoid(x))


def gradient_through_layers(slope: float, layers: int) -> float:
    """The factor that `layers` activations of the same `slope` put on a gradient, weights left out."""
    return slope**layers


def _normal_cdf(x: float) -> float:
    # erfc keeps its digits far to the left, where 1 + erf would be a difference of nearly equal numbers
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# Attention


def cache_size(
    layers: int, kv_heads: int, tokens: int, *, head_size: int = 128, batch: int = 1, unit: str = "B"
) -> float:
    """Size of the 16-bit keys and values of `batch` sequences of `tokens` in a model of any shape."""
    return in_unit(2 * layers * kv_heads * head_size * 2 * tokens * batch, unit)


def attention_score_size(heads: int, tokens: int, precision: str = "bf16", unit: str = "B") -> float:
    """Size of one layer's score matrices for one sequence if they were stored: heads x tokens x tokens."""
    return in_unit(heads * tokens**2 * bytes_per_value(precision), unit)


def attention_flops_percent(model: str, tokens: int) -> float:
    """Forward FLOPs of scores and weighted sums in percent of those of the weights (Kaplan et al. 2020, Table 1).

    2 x layers x tokens x width a token (causal average), against 2 FLOPs a weight of the blocks.
    """
    shape = model_shape(model)
    attention = 2 * shape.layers * tokens * shape.heads * shape.head_size
    return 100 * attention / (2 * linear_parameters(model))


# Rotary positions


def rope_wavelength(base: float, head_size: int, pair: int) -> float:
    """Tokens until pair 0 … head_size/2 - 1 has turned once: 2 pi base^(2 pair / head size) (Su et al. 2021)."""
    if not 0 <= pair < head_size // 2:
        raise ValueError(f"Invalid pair {pair}; allowed: 0 to {head_size // 2 - 1}")
    return 2 * math.pi * base ** (2 * pair / head_size)


def rope_longest_wavelength(base: float, head_size: int) -> float:
    """Wavelength of the slowest pair, in tokens."""
    return rope_wavelength(base, head_size, head_size // 2 - 1)


def rope_slow_pairs(base: float, head_size: int, tokens: int) -> int:
    """How many pairs turn less than once within `tokens`: they never see a whole period."""
    return sum(rope_wavelength(base, head_size, pair) > tokens for pair in range(head_size // 2))


def rope_base_for(base: float, head_size: int, factor: float) -> float:
    """The base at which the slowest pair turns `factor` times more slowly: base x factor^(d / (d - 2)).

    Known as NTK-aware scaling (Peng et al. 2023, section 3.1).
    """
    return float(base * factor ** (head_size / (head_size - 2)))


FORMULAS: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        ffn_parameters,
        gated_width,
        gated_ffn_parameters,
        ffn_share_percent,
        gelu,
        gelu_tanh,
        gelu_tanh_max_error,
        gelu_gradient,
        sigmoid_gradient,
        gradient_through_layers,
        cache_size,
        attention_score_size,
        attention_flops_percent,
        rope_wavelength,
        rope_longest_wavelength,
        rope_slow_pairs,
        rope_base_for,
    )
}
