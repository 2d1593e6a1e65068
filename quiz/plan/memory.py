"""FSRS-6 on arrays: the formulas of `fsrs.Scheduler` for thousands of cards at once. A test compares the two.

A stability is in days, a difficulty is 1 to 10, a rating 1 (again) to 4 (easy).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AGAIN, HARD, GOOD, EASY = 1, 2, 3, 4
LEAST_STABILITY = 0.001


@dataclass(frozen=True)
class Memory:
    """The memory model with one set of 21 parameters."""

    parameters: Sequence[float]
    maximum_interval: int = 36500

    @cached_property
    def decay(self) -> float:
        return -self.parameters[20]

    @cached_property
    def factor(self) -> float:
        """So that recall is 90 % when as many days have passed as the stability says."""
        return float(0.9 ** (1 / self.decay) - 1)

    def recall(self, days: Floats, stability: Floats) -> Floats:
        """Retrievability: the chance to recall a card so many days after its last review."""
        return np.asarray((1 + self.factor * np.maximum(days, 0) / stability) ** self.decay)

    def interval(self, stability: Floats, retention: Floats | float) -> Floats:
        """Whole days until recall has fallen to the desired retention."""
        days = stability / self.factor * (np.power(retention, 1 / self.decay) - 1)
        return np.clip(np.rint(days), 1, self.maximum_interval)

    def first_stability(self, rating: Ints) -> Floats:
        return np.maximum(np.asarray(self.parameters)[rating - 1], LEAST_STABILITY)

    def first_difficulty(self, rating: Ints | int) -> Floats:
        w = self.parameters
        return np.asarray(w[4] - np.exp(w[5] * (np.asarray(rating) - 1)) + 1)

    def difficulty(self, difficulty: Floats, rating: Ints) -> Floats:
        """The difficulty after a review."""
        w = self.parameters
        damped = difficulty + (10 - difficulty) * -w[6] * (rating - 3) / 9
        return np.clip(w[7] * self.first_difficulty(EASY) + (1 - w[7]) * damped, 1, 10)

    def stability(self, stability: Floats, difficulty: Floats, recall: Floats, rating: Ints) -> Floats:
        """The stability after a review on a later day; the difficulty is the one before it."""
        w = self.parameters
        forgotten = np.minimum(
            w[11] * difficulty ** -w[12] * ((stability + 1) ** w[13] - 1) * np.exp((1 - recall) * w[14]),
            stability / np.exp(w[17] * w[18]),
        )
        bonus = np.where(rating == HARD, w[15], np.where(rating == EASY, w[16], 1))
        growth = np.exp(w[8]) * (11 - difficulty) * stability ** -w[9] * (np.exp((1 - recall) * w[10]) - 1)
        recalled = stability * (1 + growth * bonus)
        return np.maximum(np.where(rating == AGAIN, forgotten, recalled), LEAST_STABILITY)

    def same_day_stability(self, stability: Floats, rating: Ints) -> Floats:
        """The stability after another review on the day of the last one."""
        w = self.parameters
        growth = np.exp(w[17] * (rating - 3 + w[18])) * stability ** -w[19]
        growth = np.where(rating == AGAIN, growth, np.maximum(growth, 1))
        return np.maximum(stability * growth, LEAST_STABILITY)

    def first_day(self, rating: Ints, goods: Ints) -> tuple[Floats, Floats]:
        """Stability and difficulty when a new card leaves its first day: rated once, then Good so many times."""
        stability = self.first_stability(rating)
        difficulty = np.clip(self.first_difficulty(rating), 1, 10)
        for repeat in range(int(goods.max(initial=0))):
            again = goods > repeat
            good = np.full(rating.shape, GOOD)
            stability = np.where(again, self.same_day_stability(stability, good), stability)
            difficulty = np.where(again, self.difficulty(difficulty, good), difficulty)
        return stability, difficulty
