"""What the statistics page reads: a fixed number of queries, whatever the number of cards, answers and days."""

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.cache import cache
from django.db.models import Count, Max

from kb.models import Topic
from quiz.models import Card, DayTally, ReviewEvent
from quiz.statistics.arrays import NO_TOPIC, CardArrays, card_arrays
from quiz.statistics.figures import Tally

# From so many studied cards on, reading them takes most of the page's time; they are kept as long as nothing happens
# to them, and for minutes only, because a question may also move to another topic.
LARGE = 10_000
KEPT_SECONDS = 300


@dataclass(frozen=True)
class Deck:
    """One learner's cards."""

    seen: CardArrays  # answered at least once, not suspended
    new: dict[int, int]  # topic → cards never answered
    suspended: int


@dataclass(frozen=True)
class Records(Deck):
    """The cards, and the days."""

    tallies: list[Tally]  # by day
    topics: dict[int, Topic]


def records_of(user: User) -> Records:
    return Records(
        **vars(deck_of(user)),
        tallies=[Tally(*row) for row in DayTally.objects.filter(owner=user).values_list(*Tally._fields)],
        topics={topic.pk: topic for topic in Topic.objects.all()},
    )


def deck_of(user: User) -> Deck:
    """As the database has it now; a large one from the cache while its version is the same."""
    version, key = _version_of(user), f"statistics-deck-{user.pk}"
    kept: tuple[tuple[int, ...], Deck] | None = cache.get(key)
    if kept and kept[0] == version:
        return kept[1]
    deck = _read_deck(user)
    if len(deck.seen) >= LARGE:
        cache.set(key, (version, deck), KEPT_SECONDS)
    return deck


def _version_of(user: User) -> tuple[int, ...]:
    """Changes with every action on a card, and when cards come or go."""
    newest = ReviewEvent.objects.filter(owner=user).aggregate(newest=Max("pk"))
    cards = Card.objects.filter(owner=user).aggregate(newest=Max("pk"), count=Count("pk"))
    return newest["newest"] or 0, cards["newest"] or 0, cards["count"]


def _read_deck(user: User) -> Deck:
    cards = Card.objects.filter(owner=user)
    awake = cards.filter(is_suspended=False)
    unseen = awake.filter(state=Card.NEW, stability=None).order_by()
    new = unseen.values_list("question__topic").annotate(n=Count("pk"))
    return Deck(
        seen=card_arrays(awake.filter(stability__isnull=False, due__isnull=False, last_review__isnull=False)),
        new={NO_TOPIC if topic is None else topic: n for topic, n in new},
        suspended=cards.filter(is_suspended=True).count(),
    )
