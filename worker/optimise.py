"""Fits FSRS-6's parameters to a learner's log with the library's optimizer, and scores them before and after."""

import logging
from collections.abc import Sequence
from datetime import datetime

import fsrs
import torch
from celery.exceptions import SoftTimeLimitExceeded
from fsrs import Optimizer

from quiz.models import Optimisation
from quiz.review.services import study_settings
from quiz.statistics.histories import History, Scores, before, histories_of, later_days, score
from quiz.statistics.optimising import (
    LEAST_REVIEWS,
    TIME_LIMIT,
    optimisation_claim,
    optimisation_fail,
    optimisation_finish,
)

logger = logging.getLogger(__name__)

# The library's optimizer takes about 20 ms an answer on one core.
MAX_ANSWERS = 10_000
# The last part of the answers is kept back to measure on, where the rest is enough to fit.
HELD_OUT = 0.2


def execute(optimisation_id: int) -> None:
    """Fit, score, store. Whatever happens, the row ends with a result or with a reason."""
    found = optimisation_claim(optimisation_id)
    if found is None:
        return
    try:
        _fit(found)
    except SoftTimeLimitExceeded:
        optimisation_fail(found, "time", minutes=TIME_LIMIT // 60)
    except Exception:
        logger.exception("Fitting parameters, optimisation %s", optimisation_id)
        optimisation_fail(found, "crash")


def _fit(found: Optimisation) -> None:
    histories = newest(histories_of(found.owner))
    reviews = sum(map(later_days, histories))
    if reviews < LEAST_REVIEWS:
        optimisation_fail(found, "few", reviews=reviews, needed=LEAST_REVIEWS)
        return
    since = split_at(histories)
    fitted = fit(before(histories, since) if since else histories)
    in_use = study_settings(found.owner).scheduling.parameters
    scores = [score(parameters, histories, since=since) for parameters in (in_use, fitted)]
    kept = [as_json(one, is_held_out=since is not None) for one in scores]
    optimisation_finish(found, reviews=reviews, parameters=fitted, before=kept[0], after=kept[1])


def as_json(scores: Scores, *, is_held_out: bool) -> dict[str, float]:
    return {**scores.as_json(), "is_held_out": is_held_out}


def newest(histories: Sequence[History]) -> list[History]:
    """Whole histories, of the cards answered last, up to MAX_ANSWERS answers."""
    kept: list[History] = []
    answers = 0
    for history in sorted(histories, key=lambda h: h[-1].at, reverse=True):
        answers += len(history)
        if answers > MAX_ANSWERS and kept:
            break
        kept.append(history)
    return sorted(kept, key=lambda h: h[0].at)


def split_at(histories: Sequence[History]) -> datetime | None:
    """When the held-out answers begin; None where the rest would be too few to fit."""
    moments = sorted(answer.at for history in histories for answer in history)
    since = moments[int(len(moments) * (1 - HELD_OUT))]
    known = sum(map(later_days, before(histories, since)))
    left = sum(map(later_days, histories)) - known
    return since if known >= LEAST_REVIEWS and left else None


def fit(histories: Sequence[History]) -> list[float]:
    """The library's 21 parameters; its shuffling has a fixed seed, so the same log gives the same."""
    logs = [
        fsrs.ReviewLog(card_id=card, rating=fsrs.Rating(answer.rating), review_datetime=answer.at, review_duration=None)
        for card, history in enumerate(histories)
        for answer in history
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # scalars only: more threads are slower
    try:
        return [float(weight) for weight in Optimizer(logs).compute_optimal_parameters()]
    finally:
        torch.set_num_threads(threads)
