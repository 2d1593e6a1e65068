"""Whatever is done, the row of a card is what a replay of its log gives."""

import json
import random
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quiz.models import Card, DayTally, ReviewEvent, Scheduling
from quiz.review import services
from quiz.review.scheduling import DEFAULTS
from quiz.review.states import CardState, apply, replay
from tests.builders import make_question
from tests.review.conftest import NOON, Clock

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
GRADES = st.tuples(st.just("grade"), st.integers(1, 4), st.floats(0, 60))
OTHERS = st.tuples(
    st.sampled_from(["bury", "unbury", "suspend", "unsuspend", "set_due", "reset", "undo", "reschedule"]),
    st.integers(1, 9),
    st.floats(0, 5),
)


def act(card: Card, name: str, number: int, clock: Clock) -> None:
    """One action of a learner; what is refused is left out."""
    user = card.owner
    match name:
        case "grade":
            services.card_grade(card=card, rating=number, token=uuid.uuid4(), milliseconds=number * 100)
        case "set_due":
            services.card_set_due(card, clock.now + timedelta(days=number))
        case "undo":
            with suppress(services.NothingToUndo):
                services.undo(user, uuid.uuid4())
        case "reschedule":
            changed = services.settings_change(user, desired_retention=0.85 + number / 100, fuzz=number % 2 == 0)
            services.cards_reschedule(user, changed.scheduling)
        case _:
            getattr(services, f"card_{name}")(card)


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(st.one_of(GRADES, OTHERS), max_size=25))
def test_any_sequence_of_actions_leaves_what_a_replay_gives(django_user_model, clock, actions):
    user = django_user_model.objects.create_user(f"learner-{uuid.uuid4()}")
    clock.move_to(START)
    card = services.question_to_review(user, make_question())
    for name, number, days in actions:
        clock.shift(timedelta(days=days))
        act(card, name, number, clock)
        card.refresh_from_db()
        log = card.events.select_related("scheduling").order_by("pk")
        assert CardState.of(card) == replay(log)


@settings(max_examples=200, deadline=None)
@given(ratings=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 90 * 24 * 3600)), max_size=20))
def test_undoing_everything_leads_back_to_a_new_card(ratings):
    scheduling, at = Scheduling(**DEFAULTS), START
    log = []
    for n, (rating, seconds) in enumerate(ratings):
        at += timedelta(seconds=seconds)
        log.append(ReviewEvent(pk=n + 1, action="grade", rating=rating, at=at, scheduling=scheduling))
    log += [ReviewEvent(pk=100 + event.pk, action="undo", undoes=event) for event in reversed(log)]
    assert replay(log) == CardState()


def test_a_reset_keeps_a_card_suspended_and_forgets_the_rest():
    event = ReviewEvent(action="reset")
    assert apply(CardState(state=2, stability=3.0, lapses=4, is_suspended=True), event, None) == CardState(
        is_suspended=True
    )


@pytest.mark.parametrize("action", ["undo", "reschedule"])
def test_what_looks_back_cannot_be_applied_alone(action):
    with pytest.raises(ValueError, match=f"{action} has to be replayed"):
        apply(CardState(), ReviewEvent(action=action), None)


def test_rebuild_mends_what_differs(card, capsys):
    services.card_grade(card=card, rating=3, token=uuid.uuid4())
    Card.objects.filter(pk=card.pk).update(lapses=7, due=NOON)
    DayTally.objects.update(good=5)
    found = check_output(capsys)
    assert {d["field"] for d in found["shown"]} == {"lapses", "due", "good"}
    call_command("rebuild_cards")
    assert "3 differences mended" in capsys.readouterr().out
    assert check_output(capsys)["differences"] == 0


def check_output(capsys) -> dict:
    try:
        call_command("rebuild_cards", check=True, json=True)
        code = 0
    except SystemExit as e:
        code = e.code
    found = json.loads(capsys.readouterr().out)
    assert code == bool(found["differences"])
    return found


@pytest.mark.slow
def test_nothing_differs_after_ten_thousand_random_actions(alice, clock, capsys):
    chance = random.Random(4)
    for _ in range(40):
        make_question()
    services.cards_sync(alice)
    cards = list(Card.objects.filter(owner=alice))
    names = ["grade"] * 12 + ["bury", "unbury", "suspend", "unsuspend", "set_due", "reset"] + ["undo"] * 4
    for _ in range(10_000):
        clock.shift(timedelta(hours=chance.expovariate(0.2)))
        act(chance.choice(cards), chance.choice(names), chance.randint(1, 4), clock)
    act(cards[0], "reschedule", 3, clock)
    found = check_output(capsys)
    assert (found["differences"], found["cards"]) == (0, 40)
    assert found["events"] > 8_000
