"""Reads of the review. What is due and which card comes next is in `quiz.review.queue`."""

from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import F, Q, QuerySet
from django.http import Http404
from django.utils import timezone

from kb.models import Status
from quiz.models import Card, StudySettings
from quiz.review.days import tomorrow_start

LEARNING = (Card.LEARNING, Card.RELEARNING)
# A prime: ids times a seed, modulo this, come in another order for each seed.
SHUFFLE = 1_000_003


def is_asked_today(card: Card, now: datetime, settings: StudySettings) -> bool:
    """Whether a grade now counts as a review: the card is new or due on the learner's day, and not put aside."""
    if card.is_suspended or (card.buried_until and card.buried_until > now):
        return False
    return card.due is None or card.due < tomorrow_start(now, settings)


def card_for_user(user: User, card_id: int, *related: str) -> Card:
    """The user's own card, or Http404: others' cards do not exist for them. `related` as for `select_related`."""
    cards = Card.objects.select_related(*related) if related else Card.objects.all()
    try:
        card = cards.get(pk=card_id, owner=user.pk)
    except Card.DoesNotExist:
        raise Http404(f"No card {card_id} of yours") from None
    card.owner = user
    return card


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
