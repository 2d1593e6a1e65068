"""What a learner is asked now: cards in learning, cards due today, and new ones, each within its limit.

Every page shows how many there are, and the next card has to be there at once. So all of it is one statement, in SQL:
the same with querysets takes three times as long, nearly all of it to compile them. Each part reads an index in its
order and stops at the day's limit, so that the time does not grow with the number of cards.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from kb.models import Topic
from kb.rows import read_one
from quiz.models import Card, OwnCard, Question, StudySettings
from quiz.review.days import day_of, tomorrow_start

# A card in learning may come this much early when nothing else is left.
LEARN_AHEAD = timedelta(minutes=20)
# Cards in learning, or put on today's list, that are counted at most; nobody has that many at a time.
MAX_COUNTED = 1000

DONE = "SELECT new, young, mature FROM quiz_daytally WHERE owner_id = %s AND day = %s"
# The chosen topics; none means all of them.
CHOSEN = "WITH chosen AS (SELECT topic_id FROM quiz_studysettings_topics WHERE studysettings_id = %(owner)s)"
ASKED = """
    SELECT card.id FROM quiz_card card LEFT JOIN quiz_question question ON question.id = card.question_id
    WHERE card.owner_id = %(owner)s AND card.is_suspended = FALSE AND card.state {states} AND {due}
    AND (card.buried_until IS NULL OR card.buried_until <= %(now)s)
    AND (card.question_id IS NULL OR question.status = 'published'
        AND (NOT EXISTS (SELECT 1 FROM chosen) OR question.topic_id IN (SELECT topic_id FROM chosen)))
    ORDER BY {order} LIMIT
"""
LEARNING, NEW, REVIEW = "IN (1, 3)", "= 0", "= 2"
# Written so that no index on `due` fits: with one, all new cards would be sorted to find the first.
NOT_SET = "CASE WHEN card.due IS NULL THEN 1 END = 1"
BY_DUE, IN_ORDER = "card.due, card.id", "card.position, card.id"


def _first(states: str, due: str, order: str) -> str:
    """The first card of one sort."""
    return f"({ASKED.format(states=states, due=due, order=order)} 1)"


def _part(states: str, due: str, order: str, limit: str) -> str:
    """How many cards there are of one sort, and the first of them."""
    asked = ASKED.format(states=states, due=due, order=order)
    return f"(SELECT COUNT(*) FROM ({asked} {limit}) AS counted), {_first(states, due, order)}"  # noqa: S608 (constants)


# One text for everybody, so that the database's driver keeps what it parsed.
PARTS = f"{CHOSEN} SELECT " + ", ".join(
    [
        _first(LEARNING, "card.due <= %(now)s", BY_DUE),
        _part(LEARNING, "card.due <= %(ahead)s", BY_DUE, "%(most)s"),
        _part(NEW, "card.due < %(tomorrow)s", BY_DUE, "%(most)s"),  # wanted today
        _part(REVIEW, "card.due < %(tomorrow)s", BY_DUE, "%(reviews)s"),
        _part(NEW, NOT_SET, IN_ORDER, "%(new)s"),
    ]
)


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
class Done:
    """The day's grades that count towards its limits: cards seen for the first time, young and mature ones."""

    new: int = 0
    young: int = 0
    mature: int = 0


@dataclass(frozen=True)
class Part:
    """Cards of one sort: how many there are up to the limit, and the first of them."""

    count: int
    first: int | None


class Queue:
    """Read when it is made: two queries, whatever the number of cards."""

    def __init__(self, settings: StudySettings, now: datetime | None = None) -> None:
        self.settings = settings
        self.now = now or timezone.now()
        with connection.cursor() as cursor:
            self.done = self._read_done(cursor)
            self.learning, (self.ahead, self.wanted, self.review, self.new) = self._read_parts(cursor)
        self.counts = Counts(self.ahead.count, self.wanted.count + self.review.count, self.new.count)

    def review_limit(self) -> int:
        return max(self.settings.reviews_per_day - self.done.young - self.done.mature, 0)

    def new_limit(self) -> int:
        return max(self.settings.new_per_day - self.done.new, 0)

    def _read_done(self, cursor: CursorWrapper) -> Done:
        day = connection.ops.adapt_datefield_value(day_of(self.now, self.settings))
        cursor.execute(DONE, [self.settings.owner_id, day])
        return Done(*(cursor.fetchone() or ()))

    def _read_parts(self, cursor: CursorWrapper) -> tuple[int | None, list[Part]]:
        """The first card in learning that is due; then those ahead of their time, wanted, in review, and new."""
        moments = {
            "now": self.now,
            "ahead": self.now + LEARN_AHEAD,
            "tomorrow": tomorrow_start(self.now, self.settings),
        }
        values = {name: connection.ops.adapt_datetimefield_value(at) for name, at in moments.items()}
        limits = {"most": MAX_COUNTED, "reviews": self.review_limit(), "new": self.new_limit()}
        cursor.execute(PARTS, {"owner": self.settings.owner_id, **values, **limits})
        learning, *row = cursor.fetchone()
        # Where the limit is reached no card is counted, and none is the next.
        return learning, [Part(n, first if n else None) for n, first in zip(row[::2], row[1::2], strict=True)]

    def next(self) -> Card | None:
        """Learning that is due, then reviews with the new cards spread among them, then learning ahead of its time."""
        due, new = self.wanted.first or self.review.first, self.new.first
        planned = new or due if self._is_turn_of_new() else due or new
        found = self.learning or planned or self.ahead.first
        return _card(found) if found else None

    def _is_turn_of_new(self) -> bool:
        """Whether the day's new cards lag behind its reviews; so they are spread evenly among them."""
        graded = self.done.new + self.done.young + self.done.mature
        total = graded + self.counts.new + self.counts.review
        new = self.done.new + self.counts.new
        return bool(self.counts.new) and self.done.new < (graded + 1) * new // total


def _card(pk: int) -> Card:
    """With what it asks."""
    card = read_one(Card, pk)
    if card.question_id:
        card.question = read_one(Question, card.question_id)
        card.question.topic = read_one(Topic, card.question.topic_id)
    elif card.own_card_id:
        card.own_card = read_one(OwnCard, card.own_card_id)
    return card


def due_today(user: User) -> Counts:
    """What is left of the learner's day; nothing for those who never reviewed."""
    settings = StudySettings.objects.filter(owner=user.pk).first()
    return Queue(settings).counts if settings else Counts(0, 0, 0)
