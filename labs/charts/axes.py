"""Axes with round ticks, linear and logarithmic."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Axis:
    """Maps values to viewBox units; `start` is where `low` goes."""

    low: float
    high: float
    ticks: tuple[float, ...]
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        scale: Callable[[float], float] = math.log if self.log else float
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.start + share * (self.end - self.start)


def make_axis(values: Sequence[float], start: float, end: float, *, log: bool = False, fit: bool = False) -> Axis:
    """An axis that holds all values, with round ticks; with `fit` it ends at the values, otherwise at the ticks."""
    low, high = min(values), max(values)
    if log:
        ticks = log_ticks(low, high, values)
        low, high = min(low, ticks[0]), max(high, ticks[-1])
        if low == high:
            low, high = low / 2, high * 2
        if not fit:  # no marker lies on the frame
            low, high = low * (low / high) ** 0.05, high * (high / low) ** 0.05
        return Axis(low, high, ticks, start, end, log=True)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    ticks = linear_ticks(low, high)
    if fit:
        return Axis(low, high, tuple(t for t in ticks if low <= t <= high), start, end)
    return Axis(min(low, ticks[0]), max(high, ticks[-1]), ticks, start, end)


def linear_ticks(low: float, high: float) -> tuple[float, ...]:
    """Four to nine multiples of 1, 2 or 5 × 10ⁿ that reach from `low` or below to `high` or above."""
    rough = (high - low) / 6
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(i * step, 12 - math.floor(math.log10(step))) for i in range(first, last + 1))


def log_ticks(low: float, high: float, values: Iterable[float]) -> tuple[float, ...]:
    """Powers of two where all values are (ranks), otherwise 10ⁿ, with steps between them where that gives too few."""
    if all(math.log2(v).is_integer() for v in values):
        first, last = round(math.log2(low)), round(math.log2(high))
        step = math.ceil((last - first + 1) / 10)
        return tuple(2.0**i for i in range(first, last + 1, step))
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [float(f"{m}e{n}") for n in decades for m in factors]
        inside = tuple(t for t in ticks if low <= t <= high)
        if len(inside) >= 4:
            return inside
    below = max(t for t in ticks if t <= low)
    return below, min(t for t in ticks if t >= high and t > below)


def format_tick(value: float, ticks: Sequence[float]) -> str:
    """A tick's label: even ticks share their decimals and their suffix (k, M, G); uneven ones each have their own."""
    steps = [b - a for a, b in pairwise(ticks)]
    is_even = bool(steps) and max(steps) <= 1.001 * min(steps)
    largest = max(abs(t) for t in ticks) if is_even else abs(value)
    for least, size, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value and largest >= least and (is_even or size > 1e3 or value % 1e3 == 0):
            return f"{value / size:.4g}{suffix}"
    if not is_even:
        return f"{value:.6g}"
    decimals = max(0, -math.floor(math.log10(steps[0]) + 1e-9))
    return f"{value:,.{decimals}f}" if decimals <= 6 else f"{value:.3g}"
