"""What the statistics page reads: five queries, whatever the number of cards, answers and days."""

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Count

from kb.models import Topic
from quiz.models import Card, DayTally
from quiz.statistics.arrays import NO_TOPIC, CardArrays, card_arrays


@dataclass(frozen=True)
class Records:
    """One learner's cards and days."""

    seen: CardArrays  # answered at least once, not suspended
    new: dict[int, int]  # topic → cards never answered
    suspended: int
    tallies: list[DayTally]  # by day
    topics: dict[int, Topic]


def records_of(user: User) -> Records:
    cards = Card.objects.filter(owner=user)
    awake = cards.filter(is_suspended=False)
    unseen = awake.filter(state=Card.NEW, stability=None).order_by()
    new = unseen.values_list("question__topic").annotate(n=Count("pk"))
    return Records(
        seen=card_arrays(awake.filter(stability__isnull=False, due__isnull=False, last_review__isnull=False)),
        new={NO_TOPIC if topic is None else topic: n for topic, n in new},
        suspended=cards.filter(is_suspended=True).count(),
        tallies=list(DayTally.objects.filter(owner=user)),
        topics={topic.pk: topic for topic in Topic.objects.all()},
    )
