"""Reads of the review: what is due, and which card comes next.

Due cards are read in the order of an index and no further than the day's limit, so that the time does not grow with
the number of cards.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import F, Q, QuerySet
from django.http import Http404
from django.utils import timezone

from kb.models import Status
from quiz.models import Card, DayTally, StudySettings
from quiz.review.days import day_of, tomorrow_start

# A card in learning may come this much early when nothing else is left.
LEARN_AHEAD = timedelta(minutes=20)
LEARNING = (Card.LEARNING, Card.RELEARNING)
# Learning cards counted at most; nobody has that many in learning at a time.
MAX_LEARNING = 1000
# A prime: ids times a seed, modulo this, come in another order for each seed.
SHUFFLE = 1_000_003


def is_asked_today(card: Card, now: datetime, settings: StudySettings) -> bool:
    """Whether a grade now counts as a review: the card is new or due on the learner's day, and not put aside."""
    if card.is_suspended or (card.buried_until and card.buried_until > now):
        return False
    return card.due is None or card.due < tomorrow_start(now, settings)


def card_for_user(user: User, card_id: int) -> Card:
    """The user's own card, or Http404: others' cards do not exist for them."""
    card = Card.objects.select_related("question__topic", "own_card", "owner").filter(pk=card_id, owner=user.pk).first()
    if card is None:
        raise Http404(f"No card {card_id} of yours")
    return card


@dataclass(frozen=True)
class Counts:
    """What is left of today, within the day's limits."""

    learning: int
    review: int
    new: int

    @property
    def total(self) -> int:
        return self.learning + self.review + self.new


def count_each(*querysets: QuerySet[Card]) -> list[int]:
    """How many rows each has, in one query; every page asks for it."""
    parts: list[str] = []
    params: list[Any] = []
    for rows in querysets:
        try:
            sql, values = rows.values("pk").query.sql_with_params()
        except EmptyResultSet:  # sliced to nothing
            sql, values = "SELECT 1 WHERE 1 = 0", ()
        parts.append(f"(SELECT COUNT(*) FROM ({sql}) AS counted)")  # noqa: S608 (compiled by Django)
        params += values
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", params)
        return list(cursor.fetchone())


class Queue:
    """What one learner is asked now: cards in learning, cards due today, and new ones, each within its limit."""

    def __init__(self, settings: StudySettings, now: datetime | None = None) -> None:
        self.settings = settings
        self.now = now or timezone.now()
        self.until = tomorrow_start(self.now, settings)
        self.topics = list(settings.topics.values_list("pk", flat=True))
        self.done = (
            DayTally.objects.filter(owner_id=settings.owner_id, day=day_of(self.now, settings)).first() or DayTally()
        )

    def _cards(self, *states: int) -> QuerySet[Card]:
        """Cards that may be asked."""
        shown = Q(question__status=Status.PUBLISHED)
        if self.topics:
            shown &= Q(question__topic__in=self.topics)
        awake = Q(buried_until=None) | Q(buried_until__lte=self.now)
        cards = Card.objects.filter(awake, shown | Q(question=None), owner=self.settings.owner_id, is_suspended=False)
        return cards.filter(state__in=states) if len(states) > 1 else cards.filter(state=states[0])

    def learning(self, ahead: timedelta = timedelta(0)) -> QuerySet[Card]:
        return self._cards(*LEARNING).filter(due__lte=self.now + ahead).order_by("due", "pk")

    def wanted(self) -> QuerySet[Card]:
        """New cards that the learner put on today's list."""
        return self._cards(Card.NEW).filter(due__lt=self.until).order_by("due", "pk")

    def review(self) -> QuerySet[Card]:
        return self._cards(Card.REVIEW).filter(due__lt=self.until).order_by("due", "pk")

    def new(self) -> QuerySet[Card]:
        return self._cards(Card.NEW).filter(due=None).order_by("position", "pk")

    def review_limit(self) -> int:
        return max(self.settings.reviews_per_day - self.done.young - self.done.mature, 0)

    def new_limit(self) -> int:
        return max(self.settings.new_per_day - self.done.new, 0)

    def counts(self) -> Counts:
        learning, wanted = self.learning(LEARN_AHEAD)[:MAX_LEARNING], self.wanted()[:MAX_LEARNING]
        review, new = self.review()[: self.review_limit()], self.new()[: self.new_limit()]
        learning_n, wanted_n, review_n, new_n = count_each(learning, wanted, review, new)
        return Counts(learning_n, wanted_n + review_n, new_n)

    def next(self, counts: Counts) -> Card | None:
        """Learning that is due, then reviews with the new cards spread among them, then learning ahead of its time."""
        for cards in self._in_turn(counts):
            card = cards.select_related("question__topic", "own_card").first()
            if card:
                return card
        return None

    def _in_turn(self, counts: Counts) -> list[QuerySet[Card]]:
        review = [self.review()] if self.review_limit() else []
        due = [self.wanted(), *review] if counts.review else []
        new = [self.new()] if counts.new else []
        turn = [*new, *due] if self._is_turn_of_new(counts) else [*due, *new]
        return [self.learning(), *turn, self.learning(LEARN_AHEAD)]

    def _is_turn_of_new(self, counts: Counts) -> bool:
        """Every so many cards a new one, so that the new ones last as long as the reviews do."""
        if not counts.new:
            return False
        every = (counts.new + counts.review) // counts.new
        graded_today = self.done.new + self.done.young + self.done.mature
        return graded_today % every == every - 1


def due_today(user: User) -> Counts:
    """What is left of the learner's day; nothing for those who never reviewed. A constant number of queries."""
    settings = StudySettings.objects.filter(owner=user.pk).first()
    return Queue(settings).counts() if settings else Counts(0, 0, 0)


STATES = {
    "new": Q(state=Card.NEW),
    "learning": Q(state__in=LEARNING),
    "review": Q(state=Card.REVIEW),
    "suspended": Q(is_suspended=True),
}


def cards_of(user: User, *, state: str = "", topic: str = "", text: str = "") -> QuerySet[Card]:
    """The learner's cards for the browser; `state` is one of STATES, `due`, `buried` or `leech`."""
    cards = Card.objects.filter(owner=user.pk).select_related("question__topic", "own_card")
    if state:
        cards = cards.filter(_in_state(user, state))
    if topic:
        cards = cards.filter(question__topic__slug=topic)
    if text:
        fields = ("question__prompt_en", "question__prompt_zh", "question__slug", "own_card__front", "own_card__deck")
        cards = cards.filter(Q.create([(f"{field}__icontains", text) for field in fields], connector=Q.OR))
    return cards.order_by("position", "pk")


def _in_state(user: User, state: str) -> Q:
    settings, now = StudySettings.objects.get(owner=user), timezone.now()
    by_settings = {
        "due": Q(due__lt=tomorrow_start(now, settings), is_suspended=False),
        "buried": Q(buried_until__gt=now),
        "leech": Q(lapses__gte=settings.leech_lapses),
    }
    return (STATES | by_settings)[state]


def extra_cards(user: User, *, mode: str, topic: str = "", seed: int = 1) -> QuerySet[Card]:
    """Cards to go through without touching the schedule: what is due next (`ahead`), or all, shuffled (`cram`)."""
    awake = Q(question__status=Status.PUBLISHED) | Q(question=None)
    cards = Card.objects.filter(awake, owner=user.pk, is_suspended=False).select_related("question__topic", "own_card")
    if topic:
        cards = cards.filter(question__topic__slug=topic)
    if mode == "ahead":
        settings = StudySettings.objects.get(owner=user)
        return cards.filter(state=Card.REVIEW, due__gte=tomorrow_start(timezone.now(), settings)).order_by("due", "pk")
    return cards.annotate(place=F("pk") * seed % SHUFFLE).order_by("place", "pk")
