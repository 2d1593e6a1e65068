"""Means over seeds, with what they leave uncertain."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit


@dataclass(frozen=True)
class Summary:
    """The mean of n values and its interval; `low` and `high` are None when one value says nothing about spread."""

    n: int
    mean: float
    low: float | None
    high: float | None


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Summary:
    """The mean and its two-sided t-interval: mean ± t(n − 1) · s / √n, with s the sample standard deviation.

    Source: Student, "The Probable Error of a Mean", Biometrika 6 (1908); NIST/SEMATECH e-Handbook, section 1.3.5.2.
    It assumes independent values from a roughly normal distribution. ValueError without values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("No values: a mean needs at least one")
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(n, mean, None, None)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * math.sqrt(variance / n)
    return Summary(n, mean, mean - half, mean + half)
