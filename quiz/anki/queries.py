"""Reads of the deck pages."""

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Count, Q, QuerySet
from django.http import Http404
from django.utils import timezone

from quiz.models import Card, DeckImport, OwnCard, ReviewEvent


@dataclass(frozen=True)
class OwnDeck:
    name: str
    cards: int
    due: int


def own_decks(user: User) -> list[OwnDeck]:
    """All decks of a learner by name, each with how many of its cards are due now. One query."""
    is_due = Q(cards__due__lte=timezone.now(), cards__is_suspended=False)
    counted = OwnCard.objects.filter(owner=user).values("deck").annotate(n=Count("pk"), due=Count("pk", filter=is_due))
    return [OwnDeck(row["deck"], row["n"], row["due"]) for row in counted.order_by("deck")]


def cards_of_deck(user: User, deck: str) -> QuerySet[OwnCard]:
    """The cards of one's own deck, or Http404."""
    cards = OwnCard.objects.filter(owner=user, deck=deck)
    if not cards.exists():
        raise Http404(f"No deck {deck!r} of yours")
    return cards.order_by("pk")


def own_card_for_user(user: User, card_id: int) -> OwnCard:
    """One's own card, or Http404: others' cards do not exist."""
    card = OwnCard.objects.filter(pk=card_id, owner=user).first()
    if card is None:
        raise Http404(f"No card {card_id} of yours")
    return card


def deck_import_for_user(user: User, import_id: int) -> DeckImport:
    found = DeckImport.objects.select_related("owner").filter(pk=import_id, owner=user).first()
    if found is None:
        raise Http404(f"No import {import_id} of yours")
    return found


def review_count(user: User, cards: QuerySet[OwnCard]) -> int:
    """How many grades would go with the cards."""
    reviewed = Card.objects.filter(owner=user, own_card__in=cards)
    return ReviewEvent.objects.filter(card__in=reviewed, action=ReviewEvent.GRADE).count()
