"""Answers of a learner's log in the form that fits and scores are made from, and how well parameters predict them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby, pairwise
from operator import itemgetter

import fsrs
from django.contrib.auth.models import User

from quiz.models import ReviewEvent

# Chances closer to 0 or 1 than this would make one wrong prediction outweigh all others.
CLOSEST = 1e-4


@dataclass(frozen=True)
class Answer:
    at: datetime
    rating: int


History = list[Answer]  # of one card, from new on; the oldest answer first


@dataclass(frozen=True)
class Scores:
    """How well parameters predict whether cards are recalled. Less is better."""

    log_loss: float
    rmse: float  # over bins, see `bin_of`
    reviews: int

    def as_json(self) -> dict[str, float]:
        return asdict(self)


def histories_of(user: User) -> list[History]:
    """One a card, and one more from each reset on; actions taken back are left out. The oldest card first."""
    undone = ReviewEvent.objects.filter(owner=user, action=ReviewEvent.UNDO).values("undoes")
    wanted = ReviewEvent.objects.filter(owner=user, action__in=[ReviewEvent.GRADE, ReviewEvent.RESET])
    rows = wanted.exclude(pk__in=undone).order_by("card", "pk").values_list("card", "action", "at", "rating")
    found = [h for _, of_card in groupby(rows.iterator(), key=itemgetter(0)) for h in _split_at_resets(of_card)]
    return sorted(found, key=lambda history: history[0].at)


def _split_at_resets(rows: Iterable[tuple[int, str, datetime, int | None]]) -> Iterator[History]:
    history: History = []
    for _card, action, at, rating in rows:
        if action == ReviewEvent.GRADE and rating:
            history.append(Answer(at.astimezone(UTC), rating))
        elif history:
            yield history
            history = []
    if history:
        yield history


def later_days(history: History) -> int:
    """How many answers came a day or more after the one before: only these tell about forgetting."""
    return sum((b.at - a.at).days > 0 for a, b in pairwise(history))


def before(histories: Iterable[History], moment: datetime) -> list[History]:
    """What was known then."""
    cut = ([answer for answer in history if answer.at < moment] for history in histories)
    return [history for history in cut if history]


def predictions(
    parameters: Sequence[float], history: History, since: datetime | None
) -> Iterator[tuple[float, bool, tuple[float, ...]]]:
    """Predicted chance, whether it was recalled, and the bin, for each answer on a later day."""
    scheduler = fsrs.Scheduler(parameters, enable_fuzzing=False)
    card = fsrs.Card(card_id=0)
    lapses = 0
    for count, answer in enumerate(history, start=1):
        days = (answer.at - card.last_review).days if card.last_review else 0
        if days > 0 and (since is None or answer.at >= since):
            chance = scheduler.get_card_retrievability(card, answer.at)
            yield chance, answer.rating > 1, bin_of(days, count, lapses)
        lapses += answer.rating == 1 and card.state == fsrs.State.Review
        card, _log = scheduler.review_card(card, fsrs.Rating(answer.rating), answer.at)


def bin_of(days: int, count: int, lapses: int) -> tuple[float, ...]:
    """Answers with about the same gap, number and lapses, in the steps of the FSRS benchmark's RMSE (bins)."""
    return _step(days, 2.48, 3.62), _step(count, 1.99, 1.89), _step(lapses, 1.65, 1.73) if lapses else 0.0


def _step(value: int, scale: float, base: float) -> float:
    return round(scale * base ** math.floor(math.log(value, base)), 2)


def score(parameters: Sequence[float], histories: Iterable[History], *, since: datetime | None = None) -> Scores:
    """The scores over all answers on a later day, or over those from `since` on; ValueError without one."""
    losses: list[float] = []
    bins: dict[tuple[float, ...], list[float]] = defaultdict(lambda: [0.0, 0.0, 0])  # predicted, recalled, answers
    for history in histories:
        for chance, is_recalled, place in predictions(parameters, history, since):
            bounded = min(max(chance, CLOSEST), 1 - CLOSEST)
            losses.append(-math.log(bounded if is_recalled else 1 - bounded))
            sums = bins[place]
            sums[:] = [sums[0] + chance, sums[1] + is_recalled, sums[2] + 1]
    if not losses:
        raise ValueError("No answer to score: none came a day or more after the one before")
    squares = sum((predicted - recalled) ** 2 / n for predicted, recalled, n in bins.values())
    return Scores(sum(losses) / len(losses), math.sqrt(squares / len(losses)), len(losses))
