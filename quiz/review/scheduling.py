"""FSRS-6 by the `fsrs` library, with fuzz that can be repeated.

The library's fuzz is random. Here the same range is drawn from by the token of the review, so that the interval on a
button is the one that follows, and a replay of the log gives the same due date.
"""

import hashlib
import json
import random
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import fsrs
from django.contrib.auth.models import User
from fsrs.scheduler import DEFAULT_PARAMETERS, FUZZ_RANGES

from quiz.models import Card, Scheduling

DEFAULTS: dict[str, Any] = {
    "parameters": list(DEFAULT_PARAMETERS),
    "desired_retention": 0.9,
    "learning_steps": [1, 10],
    "relearning_steps": [10],
    "maximum_interval": 36500,
    "fuzz": True,
}
RATINGS = (1, 2, 3, 4)

# Days from which on an interval is fuzzed, as in the library.
LEAST_FUZZED = 2.5


def scheduling_digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def scheduling_values(scheduling: Scheduling) -> dict[str, Any]:
    return {name: getattr(scheduling, name) for name in DEFAULTS}


def scheduling_for(user: User, **values: Any) -> Scheduling:
    """The learner's set with these values, and the defaults for the rest. ValueError for parameters out of bounds."""
    if unknown := values.keys() - DEFAULTS.keys():
        raise ValueError(f"Unknown scheduler settings {sorted(unknown)}; allowed: {sorted(DEFAULTS)}")
    values = DEFAULTS | values
    scheduler(Scheduling(**values))  # the library checks the parameters
    found, _ = Scheduling.objects.get_or_create(owner=user, digest=scheduling_digest(values), defaults=values)
    return found


def scheduler(scheduling: Scheduling) -> fsrs.Scheduler:
    """The library's scheduler for these settings, without its random fuzz."""
    return _scheduler(
        tuple(scheduling.parameters),
        scheduling.desired_retention,
        tuple(scheduling.learning_steps),
        tuple(scheduling.relearning_steps),
        scheduling.maximum_interval,
    )


@lru_cache(maxsize=256)
def _scheduler(
    parameters: tuple[float, ...],
    retention: float,
    learning: tuple[float, ...],
    relearning: tuple[float, ...],
    maximum_interval: int,
) -> fsrs.Scheduler:
    return fsrs.Scheduler(
        parameters=parameters,
        desired_retention=retention,
        learning_steps=[timedelta(minutes=minutes) for minutes in learning],
        relearning_steps=[timedelta(minutes=minutes) for minutes in relearning],
        maximum_interval=maximum_interval,
        enable_fuzzing=False,
    )


def fuzz_range(days: int, maximum: int) -> tuple[int, int]:
    """Fewest and most days that an interval may become; as the library's `_get_fuzz_range`."""
    delta = 1.0 + sum(r["factor"] * max(min(float(days), r["end"]) - r["start"], 0.0) for r in FUZZ_RANGES)
    most = min(round(days + delta), maximum)
    return min(max(2, round(days - delta)), most), most


def fuzzed(days: int, maximum: int, token: UUID) -> int:
    """The interval in days, moved a little by the token alone."""
    if days < LEAST_FUZZED:
        return days
    least, most = fuzz_range(days, maximum)
    chance = random.Random(str(token)).random()  # noqa: S311 (no secret)
    return min(round(chance * (most - least + 1) + least), maximum)


def graded(card: fsrs.Card, rating: int, at: datetime, scheduling: Scheduling, token: UUID) -> fsrs.Card:
    """The library's card after the grade, its due date fuzzed by the token."""
    at = at.astimezone(UTC)
    after, _log = scheduler(scheduling).review_card(card, fsrs.Rating(rating), at)
    if scheduling.fuzz and after.state == fsrs.State.Review:
        after.due = at + timedelta(days=fuzzed((after.due - at).days, scheduling.maximum_interval, token))
    return after


def library_card(card: Any) -> fsrs.Card:
    """The library's card for a `Card` or a `CardState`. A new one is in learning, at its first step, never reviewed."""
    return fsrs.Card(
        card_id=0,  # without one the library sleeps to find one
        state=fsrs.State(card.state or Card.LEARNING),
        step=card.step,
        stability=card.stability,
        difficulty=card.difficulty,
        due=card.due,
        last_review=card.last_review and card.last_review.astimezone(UTC),
    )


def preview(card: Any, scheduling: Scheduling, now: datetime, token: UUID | None = None) -> dict[int, datetime]:
    """When the card is due next, for each rating; exact with the token of the form that grades it."""
    before = library_card(card)
    fuzz = Scheduling(**scheduling_values(scheduling) | {"fuzz": scheduling.fuzz and token is not None})
    return {rating: graded(before, rating, now, fuzz, token or UUID(int=0)).due for rating in RATINGS}


def retrievability(card: Any, at: datetime, scheduling: Scheduling) -> float:
    """The probability that the card is recalled at that moment; 0 for one never reviewed."""
    return scheduler(scheduling).get_card_retrievability(library_card(card), at.astimezone(UTC))
