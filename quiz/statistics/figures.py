"""The numbers of the statistics page, from arrays of cards and sums of days. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from quiz.plan.memory import Memory
from quiz.review.tallies import MATURE
from quiz.statistics.arrays import CardArrays, Floats

# Ends of the columns of intervals and stabilities, in days.
DAY_EDGES = (1, 2, 4, 8, 15, 22, 31, 61, 91, 181, 366)
Z95 = 1.96  # of the normal distribution, for 95 % intervals


class Tally(NamedTuple):
    """A day's grades: a row of `DayTally`, of which years are read at once."""

    day: date
    again: int = 0
    hard: int = 0
    good: int = 0
    easy: int = 0
    young: int = 0
    young_passed: int = 0
    mature: int = 0
    mature_passed: int = 0
    milliseconds: int = 0


@dataclass(frozen=True)
class Histogram:
    labels: list[str]
    counts: list[int]
    median: float | None


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval (Wilson), which is wide while there are few answers."""

    passed: int
    total: int

    @property
    def value(self) -> float | None:
        return self.passed / self.total if self.total else None

    @property
    def ends(self) -> tuple[float, float] | None:
        if not self.total:
            return None
        n, p = self.total, self.passed / self.total
        middle = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
        return max(middle - half, 0.0), min(middle + half, 1.0)


@dataclass(frozen=True)
class Mastery:
    topic: int
    cards: int
    seen: int
    recall: float  # mean over the seen cards, now
    recall_all: float  # mean over all cards, one never seen counting as 0


@dataclass(frozen=True)
class Runs:
    """Days in a row with at least one answer."""

    current: int
    longest: int
    recent: int  # days with answers among the last 30


# Cards ----------------------------------------------------------------------------------------------------------------


def count_of_days(values: Floats) -> Histogram:
    """Days in columns that grow wider."""
    places = np.searchsorted(DAY_EDGES, values, side="right")
    counts = np.bincount(places, minlength=len(DAY_EDGES) + 1)
    labels = ["<1", *(_span(low, high - 1) for low, high in pairwise(DAY_EDGES)), f"≥{DAY_EDGES[-1]}"]
    return Histogram(labels, counts.tolist(), _median(values))


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}–{high}"


def count_of_difficulties(values: Floats) -> Histogram:
    """Difficulties 1 to 10, each column from its number up to the next."""
    counts = np.bincount(np.clip(values, 1, 9.999).astype(int), minlength=10)[1:]
    return Histogram([_span(n, n + 1) for n in range(1, 10)], counts.tolist(), _median(values))


def count_of_recalls(values: Floats) -> Histogram:
    """Retrievability in columns of ten percentage points."""
    counts = np.bincount(np.clip(values * 10, 0, 9).astype(int), minlength=10)
    return Histogram([f"{10 * n}–{10 * n + 10}" for n in range(10)], counts.tolist(), _median(values))


def _median(values: Floats) -> float | None:
    return float(np.median(values)) if len(values) else None


def recall_now(cards: CardArrays, now: float, memory: Memory) -> Floats:
    """Each card's retrievability; whole days count, as in the library."""
    return memory.recall(np.floor(now - cards.last_review), cards.stability)


def forecast(cards: CardArrays, begin: float, days: int) -> tuple[list[int], list[int]]:
    """Young and mature cards due on each of the days from the one that begins at `begin`; overdue ones on the first."""
    place = np.maximum(np.floor(cards.due - begin), 0)
    here = place < days
    is_mature = cards.stability >= MATURE
    counted = [np.bincount(place[here & mask].astype(int), minlength=days).tolist() for mask in (~is_mature, is_mature)]
    return counted[0], counted[1]


def masteries(cards: CardArrays, recall: Floats, new: Mapping[int, int]) -> list[Mastery]:
    """A row a topic; `new` counts the cards never seen. The least known first."""
    topics, places = np.unique(cards.topic, return_inverse=True)
    seen = dict(zip(topics.tolist(), np.bincount(places, minlength=len(topics)).tolist(), strict=True))
    sums = dict(zip(topics.tolist(), np.bincount(places, recall, minlength=len(topics)).tolist(), strict=True))
    rows = []
    for topic in {*seen, *new}:
        number, total = seen.get(topic, 0), seen.get(topic, 0) + new.get(topic, 0)
        mean = sums[topic] / number if number else 0.0
        rows.append(Mastery(topic, total, number, mean, mean * number / total))
    return sorted(rows, key=lambda row: (row.recall_all, row.topic))


# Days -----------------------------------------------------------------------------------------------------------------


def answers_of(tally: Tally) -> int:
    return tally.again + tally.hard + tally.good + tally.easy


def runs_of(days: Sequence[date], today: date) -> Runs:
    """A day that has not ended yet does not end a run."""
    studied = sorted(set(days))
    lengths, run = {}, 0
    for before, day in zip([None, *studied], studied, strict=False):
        run = run + 1 if before and day - before == timedelta(days=1) else 1
        lengths[day] = run
    current = lengths.get(today) or lengths.get(today - timedelta(days=1), 0)
    recent = sum(today - timedelta(days=30) < day <= today for day in studied)
    return Runs(current, max(lengths.values(), default=0), recent)


def retention_by_month(tallies: Sequence[Tally], *, months: int, today: date) -> dict[date, tuple[Share, Share]]:
    """First of the month → young, mature, for the last months; a month without reviews is there too."""
    found = {month: [0, 0, 0, 0] for month in last_months(today, months)}
    for tally in tallies:
        sums = found.get(tally.day.replace(day=1))
        if sums:
            counts = (tally.young_passed, tally.young, tally.mature_passed, tally.mature)
            sums[:] = [total + count for total, count in zip(sums, counts, strict=True)]
    return {month: (Share(*sums[:2]), Share(*sums[2:])) for month, sums in found.items()}


def last_months(today: date, months: int) -> list[date]:
    """Firsts of the months, the present one last."""
    number = today.year * 12 + today.month - 1
    return [date(n // 12, n % 12 + 1, 1) for n in range(number - months + 1, number + 1)]


def retention(tallies: Sequence[Tally]) -> Share:
    """Of the answers to cards in review, how many were recalled."""
    return Share(sum(t.young_passed + t.mature_passed for t in tallies), sum(t.young + t.mature for t in tallies))
