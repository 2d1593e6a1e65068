"""Many cards are rescheduled by the worker: batch by batch, each card once, whatever comes in between."""

import pytest
from celery.exceptions import OperationalError
from django.urls import reverse

from labs.broker import app
from quiz.models import Card, Rescheduling, ReviewEvent
from quiz.review import rescheduling, services
from quiz.review.rescheduling import reschedule, rescheduling_go_on, reschedulings_ring_waiting
from quiz.review.states import CardState, replay
from tests.builders import make_question
from tests.review.conftest import token
from worker import tasks


@pytest.fixture
def sent(monkeypatch) -> list[tuple[str, list[int]]]:
    """Messages to the worker, instead of a broker."""
    messages: list[tuple[str, list[int]]] = []
    monkeypatch.setattr(app, "send_task", lambda name, args, **_options: messages.append((name, args)))
    return messages


@pytest.fixture
def studied(alice, clock, monkeypatch) -> list[Card]:
    """Five cards, where two are already many and a batch."""
    monkeypatch.setattr(rescheduling, "AT_ONCE", 2)
    monkeypatch.setattr(rescheduling, "BATCH", 2)
    for _ in range(5):
        make_question()
    services.cards_sync(alice)
    cards = list(Card.objects.filter(owner=alice).order_by("pk"))
    return [services.card_grade(card=card, rating=4, token=token(n)) for n, card in enumerate(cards)]


def lower_retention(alice, retention: float = 0.8):
    return services.settings_change(alice, desired_retention=retention, fuzz=False).scheduling


def work(alice) -> int:
    """What a task does; how many batches there were."""
    batches = 0
    while rescheduling_go_on(alice.pk):
        batches += 1
    return batches


def test_the_worker_moves_all_cards_in_batches(alice, studied, sent, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        assert reschedule(alice, lower_retention(alice)) is None
    assert sent == [("worker.reschedule", [alice.pk])]
    tasks.reschedule(*sent[0][1])
    found = Rescheduling.objects.get()
    assert (found.total, found.done, found.moved) == (5, 5, 5)
    assert found.finished_at
    for card, before in zip(Card.objects.order_by("pk"), studied, strict=True):
        assert card.due > before.due
        assert CardState.of(card) == replay(card.events.select_related("scheduling").order_by("pk"))


def test_a_message_that_comes_twice_moves_no_card_twice(alice, studied, sent):
    reschedule(alice, lower_retention(alice))
    rescheduling_go_on(alice.pk)  # the worker dies after it
    assert work(alice) == 2
    assert work(alice) == 0
    assert ReviewEvent.objects.filter(action=ReviewEvent.RESCHEDULE).count() == 5


def test_the_last_wish_counts(alice, studied, sent):
    reschedule(alice, lower_retention(alice, 0.8))
    rescheduling_go_on(alice.pk)
    last = lower_retention(alice, 0.7)
    reschedule(alice, last)
    work(alice)
    newest = [card.events.order_by("-pk")[0].scheduling_id for card in studied]
    assert newest == [last.pk] * 5


def test_few_cards_are_rescheduled_at_once_and_end_what_was_under_way(alice, studied, sent, monkeypatch):
    reschedule(alice, lower_retention(alice))
    monkeypatch.setattr(rescheduling, "AT_ONCE", 5)
    assert reschedule(alice, lower_retention(alice, 0.7)) == 5
    assert not rescheduling_go_on(alice.pk)


def test_a_broker_that_is_down_loses_nothing(alice, studied, monkeypatch, sent):
    def down(*_args, **_options):
        raise OperationalError("no broker")

    with monkeypatch.context() as patch:
        patch.setattr(app, "send_task", down)
        reschedule(alice, lower_retention(alice))
    reschedulings_ring_waiting()
    assert sent == [("worker.reschedule", [alice.pk])]


def test_the_settings_show_how_far_it_is(as_alice, as_bob, alice, studied, sent):
    reschedule(alice, lower_retention(alice))
    rescheduling_go_on(alice.pk)
    assert "Rescheduling: 2 of 5 cards" in as_alice.get(reverse("review-settings")).content.decode()
    assert "Rescheduling" not in as_bob.get(reverse("review-settings")).content.decode()
    work(alice)
    polled = as_alice.get(reverse("review-rescheduling")).content.decode()
    assert "Rescheduled: 5 cards got another date." in polled
    assert "hx-get" not in polled
    assert "Rescheduled:" not in as_alice.get(reverse("review-settings")).content.decode()
