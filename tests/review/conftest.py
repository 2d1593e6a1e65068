"""A learner's cards, and a clock that stands still."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from quiz.models import Card
from quiz.review.services import cards_sync, study_settings
from tests.builders import make_question

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Clock:
    """What `timezone.now` says."""

    def __init__(self) -> None:
        self.now = NOON

    def move_to(self, at: datetime) -> None:
        self.now = at

    def shift(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timezone, "now", lambda: clock.now)
    return clock


@pytest.fixture
def settings_of_alice(alice):
    return study_settings(alice)


@pytest.fixture
def card(alice, clock) -> Card:
    """A new card of alice's."""
    question = make_question()
    cards_sync(alice)
    return Card.objects.get(owner=alice, question=question)


def token(n: int) -> uuid.UUID:
    return uuid.UUID(int=n)


def days(n: float) -> timedelta:
    return timedelta(days=n)
