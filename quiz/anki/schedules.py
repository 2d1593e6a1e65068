"""A learner's schedule as Anki's cards table has it."""

import json
from collections.abc import Iterable
from datetime import timedelta

from django.contrib.auth.models import User

from quiz.anki.deck_file import Schedule
from quiz.models import Card, StudySettings
from quiz.review.days import day_of, day_start, today
from quiz.review.services import study_settings

# Due days are counted from so many days before today, so that what is long overdue has a day too.
DAYS_BACK = 4000
# Anki's ease, in thousandths, for the difficulties 1 and 10.
EASIEST, HARDEST = 3000, 1300


def schedules(user: User, cards: Iterable[Card]) -> dict[tuple[int | None, int | None], Schedule]:
    """By (question, own card)."""
    settings = study_settings(user)
    return {(card.question_id, card.own_card_id): schedule_of(card, settings) for card in cards}


def created(settings: StudySettings) -> int:
    """The second from which the days of `schedule_of` are counted."""
    return int(day_start(today(settings) - timedelta(days=DAYS_BACK), settings).timestamp())


def schedule_of(card: Card, settings: StudySettings) -> Schedule:
    if card.state == Card.NEW or card.due is None or card.last_review is None:
        return Schedule(due=card.position, queue=-1 if card.is_suspended else 0)
    is_review = card.state == Card.REVIEW
    days = DAYS_BACK + (day_of(card.due, settings) - today(settings)).days
    interval = max(1, (day_of(card.due, settings) - day_of(card.last_review, settings)).days)
    queue = card.state if is_review else Card.LEARNING
    return Schedule(
        type=card.state,
        queue=-1 if card.is_suspended else queue,
        due=days if is_review else int(card.due.timestamp()),
        interval=interval if is_review or card.state == Card.RELEARNING else 0,
        factor=_ease(card.difficulty or 5.0),
        reviews=card.reviews,
        lapses=card.lapses,
        left=0 if is_review else _steps_left(card, settings),
        data=_memory(card, settings),
    )


def _ease(difficulty: float) -> int:
    return round(EASIEST + (difficulty - 1) / 9 * (HARDEST - EASIEST))


def _steps_left(card: Card, settings: StudySettings) -> int:
    steps = settings.scheduling.learning_steps if card.state == Card.LEARNING else settings.scheduling.relearning_steps
    return max(1, len(steps) - (card.step or 0))


def _memory(card: Card, settings: StudySettings) -> str:
    """FSRS's stability and difficulty, the wanted retention, and when the card was last reviewed."""
    memory = {
        "s": round(card.stability or 0, 4),
        "d": round(card.difficulty or 0, 3),
        "dr": round(settings.scheduling.desired_retention, 2),
        "decay": round(settings.scheduling.parameters[20], 3),
        "lrt": int(card.last_review.timestamp()) if card.last_review else 0,
    }
    return json.dumps(memory, separators=(",", ":"))
