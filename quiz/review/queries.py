"""Reads of the review: what is due, and which card comes next.

Due cards are read in the order of an index and no further than the day's limit, so that the time does not grow with
the number of cards.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
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
        learning = self.learning(LEARN_AHEAD)[:MAX_LEARNING].count()
        wanted = self.wanted()[:MAX_LEARNING].count()
        review, new = self.review()[: self.review_limit()], self.new()[: self.new_limit()]
        return Counts(learning, wanted + review.count(), new.count())

    def next(self, counts: Counts) -> Card | None:
        """Learning that is due, then reviews with the new cards spread among them, then learning ahead of its time."""
        for cards in self._in_turn(counts):
            card = cards.select_related("question__topic", "question__root", "own_card").first()
            if card:
                return card
        return None

    def _in_turn(self, counts: Counts) -> list[QuerySet[Card]]:
        due = [self.wanted(), self.review()[: self.review_limit()]]
        due = [cards for cards in due if counts.review]
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
