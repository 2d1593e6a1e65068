"""How good a prediction was: from what was answered and what was found to a share of full marks."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from labs.declaration import Guess

# Of a predicted number: how far it may be off, as a share of what was found, and what it then gets.
CREDIT = ((0.1, 1.0), (0.3, 0.5))

Answer = float | list[str]


def outcome(guess: Guess, found: Mapping[str, float]) -> Any:
    """What the run says, in the form of an answer; None when the run lacks one of the points."""
    if any(point not in found for point in guess.points):
        return None
    if guess.kind == "value":
        return found[guess.points[0]]
    if guess.kind == "order":
        return sorted(guess.points, key=lambda point: found[point])
    return [point for point in guess.points if found[point] <= guess.at_most]


def score(guess: Guess, answer: Answer, found: Mapping[str, float]) -> float:
    """From 0 to 1. A number by its distance, an order by its pairs, a choice by its ticks."""
    if isinstance(answer, float | int):
        return score_value(answer, found[guess.points[0]])
    if guess.kind == "order":
        return score_order(answer, found)
    right = {point for point in guess.points if found[point] <= guess.at_most}
    return sum((point in answer) == (point in right) for point in guess.points) / len(guess.points)


def score_value(answer: float, found: float) -> float:
    """1 within a tenth of what was found, a half within three tenths, else 0; of a zero only zero is right."""
    distance = abs(answer - found)
    return next((credit for share, credit in CREDIT if distance <= share * abs(found)), 0.0)


def score_order(answer: Sequence[str], found: Mapping[str, float]) -> float:
    """The share of pairs in the right order, among the pairs that differ at all; 1 when none does."""
    pairs = [(a, b) for a, b in combinations(answer, 2) if found[a] != found[b]]
    return sum(found[a] < found[b] for a, b in pairs) / len(pairs) if pairs else 1.0
