"""Grading: pure functions."""

from collections.abc import Iterable, Mapping


def rubric_score(weights: Mapping[int, int], made: Iterable[int]) -> float:
    """Share of all weights that the made points carry, 0 to 1. `weights` maps a point's position to its weight.

    ValueError names a position that the rubric does not have.
    """
    positions = set(made)
    unknown = positions - weights.keys()
    if unknown:
        raise ValueError(f"Invalid rubric points {sorted(unknown)}; allowed: {sorted(weights)}")
    total = sum(weights.values())
    return sum(weights[position] for position in positions) / total if total else 0.0
