"""A large deck is rescheduled through the real queue, and the log still gives every card."""

import sqlite3

from quiz.review.rescheduling import AT_ONCE
from tests.stack.processes import Stack, until

CARDS = AT_ONCE + 1
ASK = f"""
from django.contrib.auth.models import User
from uuid import uuid4
from quiz.models import OwnCard
from quiz.review.rescheduling import reschedule
from quiz.review.services import card_grade, own_card_add, settings_change, study_settings
user = User.objects.create_user("rescheduling")
settings = study_settings(user)
for n in range({CARDS}):
    card = own_card_add(OwnCard.objects.create(owner=user, guid=str(n), deck="Deck", front="Front", back="Back"))
    card_grade(card=card, rating=4, token=uuid4(), settings=settings)
assert reschedule(user, settings_change(user, desired_retention=0.8, fuzz=False).scheduling) is None
"""


def counts(stack: Stack) -> tuple[int, int, int] | None:
    """Cards in all, done and moved, once the worker is through."""
    with sqlite3.connect(f"file:{stack.data_dir / 'proofdeck.sqlite3'}?mode=ro", uri=True) as database:
        found: tuple[int, int, int] | None = database.execute(
            "SELECT total, done, moved FROM quiz_rescheduling WHERE finished_at IS NOT NULL"
        ).fetchone()
    return found


def test_the_worker_reschedules_a_large_deck(embedded_stack: Stack) -> None:
    embedded_stack.manage("shell", "-v", "0", "-c", ASK)
    found = until(lambda: counts(embedded_stack), seconds=60, what="the end of the rescheduling")
    assert found == (CARDS, CARDS, CARDS)
    checked = embedded_stack.manage("rebuild_cards", "--check")
    assert checked == f"{CARDS} cards, {2 * CARDS} events: 0 differences found.\n"
