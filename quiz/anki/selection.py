"""Which questions of the bank, or own cards, a deck is made of."""

from dataclasses import asdict, dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet

from kb.models import Status
from kb.search import search
from kb.text import Language
from quiz.mistakes import mistakes
from quiz.models import OwnCard, Question

BANK, STUDIED, MISTAKES, OWN = "bank", "studied", "mistakes", "own"
MAX_HITS = 1000


@dataclass(frozen=True)
class Selection:
    """Filters narrow the scope; an empty one leaves everything in."""

    scope: str = BANK
    topics: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    easiest: int = 1
    hardest: int = 5
    search: str = ""
    with_follow_ups: bool = True
    decks: tuple[str, ...] = ()  # of own cards

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def chosen_questions(selection: Selection, user: User | None, language: Language) -> QuerySet[Question]:
    """Published questions and follow-ups; none for a selection of own cards."""
    questions = Question.objects.filter(
        status=Status.PUBLISHED, difficulty__range=(selection.easiest, selection.hardest)
    )
    if selection.scope == OWN:
        return questions.none()
    if selection.topics:
        questions = questions.filter(topic__slug__in=selection.topics)
    if selection.kinds:
        questions = questions.filter(kind__in=selection.kinds)
    if not selection.with_follow_ups:
        questions = questions.filter(parent=None)
    if selection.search:
        hits = search(selection.search, language, limit=MAX_HITS, kind="question")
        questions = questions.filter(slug__in=[hit.slug for hit in hits])
    return _of_learner(questions, selection.scope, user)


def _of_learner(questions: QuerySet[Question], scope: str, user: User | None) -> QuerySet[Question]:
    if scope == STUDIED:
        return questions.filter(cards__owner=user, cards__reviews__gt=0)
    if scope == MISTAKES:
        return mistakes(questions, user) if user else questions.none()
    return questions


def chosen_own_cards(selection: Selection, user: User | None) -> QuerySet[OwnCard]:
    """The learner's own cards; none for a selection of questions."""
    if selection.scope != OWN or user is None:
        return OwnCard.objects.none()
    cards = OwnCard.objects.filter(owner=user)
    return cards.filter(deck__in=selection.decks) if selection.decks else cards
