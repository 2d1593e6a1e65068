"""Comparing what is kept with what a replay of the log gives, and mending it.

Cards are read in batches with their events, so that a million events need no more memory than a thousand.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import transaction

from quiz.models import Card, DayTally, ReviewEvent, Scheduling
from quiz.review.states import STATE_FIELDS, CardState, in_effect, replay
from quiz.review.tallies import COUNTS, tallies_of

BATCH = 500
EVENT_FIELDS = (
    "card_id",
    "owner_id",
    "token",
    "action",
    "at",
    "day",
    "rating",
    "milliseconds",
    "until",
    "scheduling_id",
    "undoes_id",
    "state_before",
    "stability_before",
)


@dataclass(frozen=True)
class Difference:
    """One field that is not what the log says; `of` is `card 7` or `tally 3 2026-03-02`."""

    of: str
    field: str
    kept: Any
    replayed: Any


Days = dict[tuple[int, date], dict[str, int]]


@dataclass
class Rebuilt:
    cards: int = 0
    events: int = 0


def rebuild(*, is_check: bool, result: Rebuilt) -> Iterator[Difference]:
    """Yield every difference; unless it is a check, mend it. Counts into `result` what was looked at."""
    schedulings = Scheduling.objects.in_bulk()
    days: Days = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    ids = list(Card.objects.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(ids), BATCH):
        with transaction.atomic():
            yield from _rebuild_batch(ids[start : start + BATCH], schedulings, days, is_check, result)
    with transaction.atomic():
        yield from _rebuild_tallies(days, is_check)


def _rebuild_batch(
    ids: list[int], schedulings: dict[int, Scheduling], days: Days, is_check: bool, result: Rebuilt
) -> Iterator[Difference]:
    events: dict[int, list[ReviewEvent]] = defaultdict(list)
    for event in ReviewEvent.objects.filter(card__in=ids).only(*EVENT_FIELDS).order_by("pk"):
        if event.scheduling_id:
            event.scheduling = schedulings[event.scheduling_id]
        events[event.card_id].append(event)
    wrong = []
    for card in Card.objects.filter(pk__in=ids).order_by("pk"):
        log = events[card.pk]
        result.cards += 1
        result.events += len(log)
        _count_days(card.owner_id, log, days)
        found = list(_card_differences(card, replay(log)))
        wrong += [card] if found else []
        yield from found
    if not is_check:
        Card.objects.bulk_update(wrong, STATE_FIELDS)


def _card_differences(card: Card, replayed: CardState) -> Iterator[Difference]:
    kept, state = CardState.of(card).values(), replayed.values()
    for name in STATE_FIELDS:
        if kept[name] != state[name]:
            yield Difference(f"card {card.pk}", name, kept[name], state[name])
    replayed.write_to(card)


def _count_days(owner: int, log: list[ReviewEvent], days: Days) -> None:
    grades = (event for event in in_effect(log) if event.action == ReviewEvent.GRADE)
    for day, counts in tallies_of(grades).items():
        for name, n in counts.items():
            days[owner, day][name] += n


def _rebuild_tallies(days: Days, is_check: bool) -> Iterator[Difference]:
    """A day that only has undone grades may have a row of zeros or none."""
    kept = {(tally.owner_id, tally.day): tally for tally in DayTally.objects.all()}
    for owner, day in sorted(kept.keys() | days.keys()):
        tally, counts = kept.get((owner, day)) or DayTally(owner_id=owner, day=day), days[owner, day]
        found = [name for name in COUNTS if getattr(tally, name) != counts[name]]
        for name in found:
            yield Difference(f"tally {owner} {day}", name, getattr(tally, name), counts[name])
            setattr(tally, name, counts[name])
        if found and not is_check:
            tally.save()
