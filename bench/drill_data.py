"""A learner of many years in the database at hand: 10,000 questions, 100,000 cards, 1,000,000 log entries.

The scheduler itself makes the logs of a few hundred cards; the others get copies with their days moved. So intervals,
stabilities and ratings are real ones, a replay of the log gives the cards, and a million rows need a minute.
"""

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction

from kb.models import Topic
from quiz.models import Card, DayTally, OwnCard, Question, ReviewEvent, RubricPoint, StudySettings
from quiz.review.days import day_of
from quiz.review.services import settings_change
from quiz.review.states import CardState, apply
from quiz.review.tallies import COUNTS, tally_of

QUESTIONS, CARDS, EVENTS = 10_000, 100_000, 1_000_000
TOPICS = 20
MODELS = 400  # cards whose logs are computed
LOG_LENGTH = 18  # events of a studied card, at most; the cards that are left are new
DAYS = (600, 3000)  # between a card's first review and now
BATCH = 5_000
TEXT = "The update is $\\Delta W = BA$ with $B \\in \\mathbb{R}^{d \\times r}$ and **rank** $r$. " * 6

Log = list[ReviewEvent]


def build(*, questions: int = QUESTIONS, cards: int = CARDS, events: int = EVENTS) -> User:
    """The learner with so many cards, own ones where the questions end."""
    user = User.objects.create_user("long-learner")
    # Without fuzz, a copy of a log under other tokens gives the same state.
    settings = settings_change(user, fuzz=False, reviews_per_day=200)
    now, chance = datetime.now(UTC), random.Random(7)  # noqa: S311 (data to measure with)
    models = [_log(settings, chance, now) for _ in range(MODELS)]
    with transaction.atomic():
        made = _cards(user, _questions(questions), cards, _states(models, events))
        days = _copy_logs(made, models, events, settings)
        tallies = [DayTally(owner=user, day=day, **{name: n[name] for name in COUNTS}) for day, n in days.items()]
        DayTally.objects.bulk_create(tallies)
    return user


def _questions(count: int) -> list[Question]:
    topics = [Topic.objects.create(slug=f"topic-{n}", position=n, title_en=f"Topic {n}") for n in range(TOPICS)]
    rows = [
        Question(
            slug=f"question-{n}",
            topic=topics[n * TOPICS // count],
            difficulty=1 + n % 5,
            position=n,
            prompt_en=f"Why does question {n} matter for $r = {1 + n % 64}$?",
            short_en=TEXT,
            answer_en=TEXT * 2 + str(n),  # all texts together as long as in the longest twentieth of the shipped ones
        )
        for n in range(count)
    ]
    made = Question.objects.bulk_create(rows, batch_size=BATCH)
    rubric = [
        RubricPoint(question=q, position=p, weight=1 + p, dimension="concept", text_en=f"Point {p} with $\\alpha / r$")
        for q in made
        for p in range(3)
    ]
    RubricPoint.objects.bulk_create(rubric, batch_size=BATCH)
    return made


def _log(settings: StudySettings, chance: random.Random, now: datetime) -> tuple[Log, CardState]:
    """The reviews of one card, each when it was due or some days later."""
    at = now - timedelta(days=chance.uniform(*DAYS))
    log: Log = []
    state = CardState()
    # Nobody leaves a card in learning for a week.
    while (len(log) < LOG_LENGTH and at < now - timedelta(days=7)) or state.state in (Card.LEARNING, Card.RELEARNING):
        event = _grade(settings, state, at, chance)
        log.append(event)
        state = apply(state, event, settings.scheduling)
        assert state.due
        at = state.due + timedelta(hours=chance.expovariate(1 / 20))
    return log, state


def _grade(settings: StudySettings, state: CardState, at: datetime, chance: random.Random) -> ReviewEvent:
    return ReviewEvent(
        owner_id=settings.owner_id,
        action=ReviewEvent.GRADE,
        at=at,
        day=day_of(at, settings),
        rating=chance.choices((1, 2, 3, 4), (10, 10, 65, 15))[0],
        milliseconds=chance.randrange(2_000, 40_000),
        scheduling=settings.scheduling,
        state_before=state.state,
        stability_before=state.stability,
        days_before=(at - state.last_review).total_seconds() / 86_400 if state.last_review else None,
    )


def _shift(number: int) -> timedelta:
    """How far the log of a card is moved into the past."""
    return timedelta(minutes=number * 7919 % (7 * 1440))


def _states(models: list[tuple[Log, CardState]], events: int) -> Iterator[CardState]:
    """Of the cards in turn: as their log gives it, and new ones when all events are used up."""
    number = 0
    while True:
        log, state = models[number % MODELS]
        events -= len(log)
        yield _moved(state, _shift(number)) if events >= 0 else CardState()
        number += 1


def _moved(state: CardState, shift: timedelta) -> CardState:
    assert state.due
    assert state.last_review
    return replace(state, due=state.due - shift, last_review=state.last_review - shift)


def _cards(user: User, questions: list[Question], count: int, states: Iterator[CardState]) -> list[Card]:
    own = [
        OwnCard(owner=user, guid=f"own-{n}", deck=f"Deck {n % 9}", front=f"Front {n}", back=f"Back {n}")
        for n in range(count - len(questions))
    ]
    made = OwnCard.objects.bulk_create(own, batch_size=BATCH)
    rows = [Card(owner=user, question=q, position=n) for n, q in enumerate(questions)]
    rows += [Card(owner=user, own_card=own_card, position=count + n) for n, own_card in enumerate(made)]
    # Logs are spread over questions and own cards alike, so that both are new, due and known.
    random.Random(3).shuffle(rows)  # noqa: S311
    for card, state in zip(rows, states, strict=False):
        state.write_to(card)
    return Card.objects.bulk_create(rows, batch_size=BATCH)


def _copy_logs(
    cards: list[Card], models: list[tuple[Log, CardState]], events: int, settings: StudySettings
) -> dict[date, Counter[str]]:
    """Write the logs with plain SQL, which takes a tenth of the time of a million model instances; the days' sums."""
    fields = [field for field in ReviewEvent._meta.concrete_fields if not field.primary_key]
    columns = ", ".join(str(field.column) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    insert = f"INSERT INTO {ReviewEvent._meta.db_table} ({columns}) VALUES ({marks})"  # noqa: S608 (names of columns)
    by_name = {field.name: field for field in fields}
    places = [fields.index(by_name[name]) for name in ("card", "token", "at", "day")]
    prepared = [
        [[field.get_db_prep_save(getattr(event, field.attname), connection) for field in fields] for event in log]
        for log, _state in models
    ]
    days: dict[date, Counter[str]] = {}
    rows: list[list[Any]] = []
    with connection.cursor() as cursor:
        for number, card in enumerate(cards):
            log, shift = models[number % MODELS][0], _shift(number)
            events -= len(log)
            if events < 0:
                break
            for event, row in zip(log, prepared[number % MODELS], strict=True):
                at = event.at - shift
                day = day_of(at, settings)
                copied = row.copy()
                moved = (card.pk, uuid.uuid4(), at, day)
                for place, value in zip(places, moved, strict=True):
                    copied[place] = fields[place].get_db_prep_save(value, connection)
                rows.append(copied)
                days.setdefault(day, Counter()).update(tally_of(event))
            if len(rows) >= BATCH:
                cursor.executemany(insert, rows)
                rows = []
        cursor.executemany(insert, rows)
    return days
