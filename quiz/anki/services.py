"""Changing and deleting own cards and decks: one function an action, each one transaction."""

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, QuerySet

from quiz.anki.fields import from_anki
from quiz.models import Card, DayTally, OwnCard, ReviewEvent
from quiz.review.tallies import tallies_of


def card_change(card: OwnCard, *, front: str, back: str, deck: str, tags: list[str]) -> OwnCard:
    """What was typed is sanitised as an import is. The schedule stays."""
    card.front, card.back = from_anki(front).html, from_anki(back).html
    card.deck, card.tags = deck, tags
    card.save(update_fields=["front", "back", "deck", "tags"])
    return card


def deck_rename(user: User, old: str, new: str) -> int:
    """How many cards moved; a name that exists takes them in."""
    return OwnCard.objects.filter(owner=user, deck=old).update(deck=new)


@transaction.atomic
def cards_delete(user: User, cards: QuerySet[OwnCard]) -> int:
    """Delete own cards with their schedule and their log, and take their grades out of the days' sums."""
    chosen = cards.filter(owner=user)
    count = chosen.count()
    reviewed = Card.objects.filter(own_card__in=chosen.values("pk"))
    grades = ReviewEvent.objects.filter(card__in=reviewed.values("pk"), action=ReviewEvent.GRADE, undone_by=None)
    for day, counts in tallies_of(grades).items():
        less = {name: F(name) - n for name, n in counts.items() if n}
        DayTally.objects.filter(owner=user, day=day).update(**less)
    chosen.delete()
    return count
