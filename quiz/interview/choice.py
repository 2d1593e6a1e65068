"""Which question an interviewer asks next: pure functions, the same for the same history and seed.

The choice narrows the questions down step by step: never one that was asked; mostly open ones; nearest to the level;
topics that this interview has not touched, the weak ones first; what the learner has never answered; and then chance.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quiz.interview.options import HIGHEST, LOWEST

# From this score on an answer counts as a success, and below the other one as a failure.
SUCCESS, FAILURE = 0.75, 0.4
# Of every four questions one is graded by the machine, as an interviewer slips in a quick calculation.
GRADED_EVERY = 4
# A mean score below this makes a topic weak; from the other one on it is strong.
WEAK, STRONG = 0.6, 0.85


@dataclass(frozen=True)
class Candidate:
    """A question that could be asked."""

    pk: int
    topic: int
    difficulty: int
    is_open: bool
    is_seen: bool = False  # the learner has answered it before


@dataclass(frozen=True)
class Asked:
    """A question that was asked in this interview, without its follow-ups."""

    pk: int
    topic: int
    score: float | None = None  # None: not answered


@dataclass(frozen=True)
class Choice:
    pk: int
    reason: str  # one of Turn.REASONS


def level_after(start: int, scores: Sequence[float | None]) -> int:
    """One level up after a success, one down after a failure."""
    level = start
    for score in scores:
        if score is not None:
            level += (score >= SUCCESS) - (score < FAILURE)
        level = min(HIGHEST, max(LOWEST, level))
    return level


def choose(
    candidates: Sequence[Candidate], asked: Sequence[Asked], *, start: int, mastery: Mapping[int, float], seed: str
) -> Choice | None:
    """The next question, or None when all have been asked. `mastery` is the mean score of topics answered before."""
    level = level_after(start, [past.score for past in asked])
    wants_open = len(asked) % GRADED_EVERY != GRADED_EVERY - 1
    touched = Counter(past.topic for past in asked)
    done = {past.pk for past in asked}
    pool = sorted((c for c in candidates if c.pk not in done), key=lambda c: c.pk)
    if not pool:
        return None
    pool = _nearest(pool, lambda c: c.is_open != wants_open)
    pool = _nearest(pool, lambda c: abs(c.difficulty - level))
    fresh = _nearest(pool, lambda c: touched[c.topic])
    weak = _nearest(fresh, lambda c: _band(mastery.get(c.topic)))
    unseen = _nearest(weak, lambda c: c.is_seen)
    chosen = random.Random(f"{seed}:{len(asked)}").choice(unseen)  # noqa: S311 (an order of questions)
    has_moved = chosen.difficulty == level != level_after(start, [past.score for past in asked[:-1]])
    reasons = {
        "level": has_moved,
        "weak": _band(mastery.get(chosen.topic)) == 0,
        "unseen": len(unseen) < len(weak),
        "topic": bool(asked) and not touched[chosen.topic],
    }
    return Choice(chosen.pk, next((reason for reason, holds in reasons.items() if holds), "planned"))


def _nearest(pool: list[Candidate], distance: Callable[[Candidate], Any]) -> list[Candidate]:
    """Those with the least distance."""
    least = min(distance(candidate) for candidate in pool)
    return [candidate for candidate in pool if distance(candidate) == least]


def _band(mastery: float | None) -> int:
    """0 weak, 1 unknown or middling, 2 strong. Bands, so that chance has something left to decide."""
    if mastery is None:
        return 1
    return (mastery >= WEAK) + (mastery >= STRONG)
