"""What a learner is asked now: cards in learning, cards due today, and new ones, each within its limit.

Every page shows how many there are, and the next card has to be there at once. So all of it is one statement, in SQL:
the same with querysets takes three times as long, nearly all of it to compile them. Each part reads an index in its
order and stops at the day's limit, so that the time does not grow with the number of cards.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from quiz.models import Card, DayTally, StudySettings
from quiz.review.days import day_of, tomorrow_start

# A card in learning may come this much early when nothing else is left.
LEARN_AHEAD = timedelta(minutes=20)
# Cards in learning, or put on today's list, that are counted at most; nobody has that many at a time.
MAX_COUNTED = 1000

ASKED = """
    SELECT card.id FROM quiz_card card LEFT JOIN quiz_question question ON question.id = card.question_id
    WHERE card.owner_id = %s AND card.is_suspended = FALSE AND card.state {states} AND {due}
    AND (card.buried_until IS NULL OR card.buried_until <= %s)
    AND (card.question_id IS NULL OR question.status = 'published' {topics})
    ORDER BY {order} LIMIT %s
"""
LEARNING, NEW, REVIEW = "IN (1, 3)", "= 0", "= 2"
# Written so that no index on `due` fits: with one, all new cards would be sorted to find the first.
NOT_SET = "CASE WHEN card.due IS NULL THEN 1 END = 1"
BY_DUE, IN_ORDER = "card.due, card.id", "card.position, card.id"


@dataclass(frozen=True)
class Counts:
    """What is left of today, within the day's limits."""

    learning: int
    review: int
    new: int

    @property
    def total(self) -> int:
        return self.learning + self.review + self.new


@dataclass(frozen=True)
class Part:
    """Cards of one sort: how many there are up to the limit, and the first of them."""

    count: int
    first: int | None


class Queue:
    """Read when it is made: four queries, whatever the number of cards."""

    def __init__(self, settings: StudySettings, now: datetime | None = None) -> None:
        self.settings = settings
        self.now = now or timezone.now()
        day = day_of(self.now, settings)
        self.done = DayTally.objects.filter(owner=settings.owner_id, day=day).first() or DayTally()
        self.topics = list(settings.topics.order_by().values_list("pk", flat=True))
        self.learning, self.ahead, self.wanted, self.review, self.new = self._read()
        self.counts = Counts(self.ahead.count, self.wanted.count + self.review.count, self.new.count)

    def review_limit(self) -> int:
        return max(self.settings.reviews_per_day - self.done.young - self.done.mature, 0)

    def new_limit(self) -> int:
        return max(self.settings.new_per_day - self.done.new, 0)

    def _read(self) -> list[Part]:
        until = tomorrow_start(self.now, self.settings)
        parts = [
            self._part(LEARNING, "card.due <= %s", self.now, BY_DUE, MAX_COUNTED),
            self._part(LEARNING, "card.due <= %s", self.now + LEARN_AHEAD, BY_DUE, MAX_COUNTED),
            self._part(NEW, "card.due < %s", until, BY_DUE, MAX_COUNTED),
            self._part(REVIEW, "card.due < %s", until, BY_DUE, self.review_limit()),
            self._part(NEW, NOT_SET, None, IN_ORDER, self.new_limit()),
        ]
        columns, params = [], []
        for sql, values, limit in parts:
            columns.append(f"(SELECT COUNT(*) FROM ({sql}) AS counted), ({sql})")  # noqa: S608 (values are parameters)
            params += [*values, limit, *values, min(limit, 1)]
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(columns)}", params)
            row = cursor.fetchone()
        return [Part(count, first) for count, first in zip(row[::2], row[1::2], strict=True)]

    def _part(
        self, states: str, due: str, until: datetime | None, order: str, limit: int
    ) -> tuple[str, list[Any], int]:
        """SQL, its parameters but the limit, and the limit."""
        topics = f"AND question.topic_id IN ({', '.join(['%s'] * len(self.topics))})" if self.topics else ""
        adapt = connection.ops.adapt_datetimefield_value
        moment = [adapt(until)] if until else []
        sql = ASKED.format(states=states, due=due, topics=topics, order=order)
        return sql, [self.settings.owner_id, *moment, adapt(self.now), *self.topics], limit

    def next(self) -> Card | None:
        """Learning that is due, then reviews with the new cards spread among them, then learning ahead of its time."""
        due, new = self.wanted.first or self.review.first, self.new.first
        planned = new or due if self._is_turn_of_new() else due or new
        found = self.learning.first or planned or self.ahead.first
        cards = Card.objects.select_related("question__topic", "own_card")
        return cards.filter(pk=found).first() if found else None

    def _is_turn_of_new(self) -> bool:
        """Whether the day's new cards lag behind its reviews; so they are spread evenly among them."""
        graded = self.done.new + self.done.young + self.done.mature
        total = graded + self.counts.new + self.counts.review
        new = self.done.new + self.counts.new
        return bool(self.counts.new) and self.done.new < (graded + 1) * new // total


def due_today(user: User) -> Counts:
    """What is left of the learner's day; nothing for those who never reviewed."""
    settings = StudySettings.objects.filter(owner=user.pk).first()
    return Queue(settings).counts if settings else Counts(0, 0, 0)
