"""Actions on cards: each leaves the log and the card in agreement, and counts once."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from kb.models import Status
from quiz.models import Card, DayTally, ReviewEvent
from quiz.review import services
from quiz.review.states import CardState, replay
from tests.builders import make_follow_up, make_question, make_topic
from tests.review.conftest import NOON, days, token

AGAIN, HARD, GOOD, EASY = 1, 2, 3, 4


def grade(card: Card, rating: int = GOOD, **values) -> Card:
    return services.card_grade(card=card, rating=rating, token=values.pop("token", None) or uuid.uuid4(), **values)


def mature(card: Card, clock) -> Card:
    """A card in review, due now."""
    card = grade(card, EASY)
    clock.move_to(card.due)
    return card


def events(card: Card) -> list[str]:
    return list(card.events.order_by("pk").values_list("action", flat=True))


def assert_follows_from_log(card: Card) -> None:
    card.refresh_from_db()
    assert CardState.of(card) == replay(card.events.select_related("scheduling").order_by("pk"))


def test_a_card_for_each_published_question_in_reading_order(alice):
    root = make_question()
    second = make_question()
    deeper = make_follow_up(make_follow_up(root))
    make_question(status=Status.DRAFT)
    assert services.cards_sync(alice) == 4
    assert services.cards_sync(alice) == 0
    ordered = Card.objects.filter(owner=alice).order_by("position")
    assert [card.question_id for card in ordered] == [root.pk, deeper.parent_id, deeper.pk, second.pk]


def test_new_questions_take_their_place_among_new_cards(alice):
    first, last = make_question(position=1), make_question(position=9)
    services.cards_sync(alice)
    between = make_question(position=5)
    services.cards_sync(alice)
    ordered = Card.objects.filter(owner=alice).order_by("position", "pk")
    assert [card.question_id for card in ordered] == [first.pk, between.pk, last.pk]


def test_only_the_chosen_topics_get_cards(alice):
    chosen, other = make_topic("math"), make_topic("serving")
    make_question(topic=chosen)
    make_question(topic=other)
    services.settings_change(alice, topics=[chosen])
    assert services.cards_sync(alice) == 1


def test_a_grade_is_logged_with_the_card_as_it_was(card, clock):
    card = mature(card, clock)
    stability = card.stability
    grade(card, GOOD, milliseconds=1500)
    event = card.events.last()
    assert (event.state_before, event.stability_before, event.milliseconds) == (Card.REVIEW, stability, 1500)
    assert event.days_before == pytest.approx((card.due - card.last_review).days)
    assert_follows_from_log(card)


def test_the_same_token_counts_once(card):
    for _ in range(2):
        graded = grade(card, token=token(1))
    assert graded.reviews == 1
    assert DayTally.objects.get().good == 1


def test_a_token_of_another_card_is_refused(alice, card):
    make_question()
    services.cards_sync(alice)
    other = Card.objects.exclude(pk=card.pk).get()
    grade(card, token=token(1))
    with pytest.raises(services.NotYourToken):
        grade(other, token=token(1))
    assert not events(other)


def test_a_second_tab_does_not_count(card):
    seen = CardState.of(card).digest()
    grade(card, seen=seen)
    with pytest.raises(services.StaleCard):
        grade(card, seen=seen)
    assert events(card) == ["grade"]


@pytest.mark.parametrize("rating", [0, 5, -1])
def test_a_rating_that_does_not_exist_is_refused(card, rating):
    with pytest.raises(ValueError, match=f"Invalid rating {rating}; allowed: 1"):
        grade(card, rating)
    assert not events(card)


def test_a_pause_over_a_card_counts_ten_minutes_at_most(card):
    grade(card, milliseconds=10**9)
    assert card.events.get().milliseconds == services.MAX_MILLISECONDS


def test_tallies_tell_new_young_and_mature(card, clock):
    card = grade(card, EASY)
    clock.move_to(card.due)
    card = grade(card, AGAIN)
    young = DayTally.objects.get(day=card.last_review.date())
    assert (young.again, young.new, young.young, young.young_passed, young.mature) == (1, 0, 1, 0, 0)
    assert DayTally.objects.get(day=NOON.date()).new == 1


def test_undo_takes_back_state_and_tally(alice, card, clock):
    before = CardState.of(card)
    grade(card)
    undone = services.undo(alice, token(9))
    assert CardState.of(undone) == before
    assert DayTally.objects.get().good == 0
    assert events(card) == ["grade", "undo"]


def test_undo_sent_twice_undoes_once(alice, card):
    grade(card)
    grade(card)
    for _ in range(2):
        services.undo(alice, token(9))
    card.refresh_from_db()
    assert card.reviews == 1


def test_undo_goes_back_action_by_action(alice, card):
    grade(card)
    services.card_bury(card)
    services.card_suspend(card)
    for n in range(3):
        services.undo(alice, token(n))
    card.refresh_from_db()
    assert CardState.of(card) == CardState()
    with pytest.raises(services.NothingToUndo):
        services.undo(alice, token(4))


def test_the_last_fifty_actions_can_be_undone(alice, card):
    for _ in range(26):
        services.card_suspend(card)
        services.card_unsuspend(card)
    for n in range(services.MAX_UNDO):
        services.undo(alice, token(n))
    with pytest.raises(services.NothingToUndo):
        services.undo(alice, token(99))
    assert_follows_from_log(card)


def test_undo_does_not_reach_others_actions(bob, card):
    grade(card)
    with pytest.raises(services.NothingToUndo):
        services.undo(bob, token(1))


def test_a_buried_card_comes_back_tomorrow(card):
    buried = services.card_bury(card)
    assert buried.buried_until == NOON.replace(hour=4) + days(1)
    assert services.card_bury(card).pk == card.pk
    assert events(card) == ["bury"]
    assert services.card_unbury(card).buried_until is None


def test_suspending_twice_logs_once(card):
    services.card_suspend(card)
    assert services.card_suspend(card).is_suspended
    assert events(card) == ["suspend"]
    assert not services.card_unsuspend(card).is_suspended


def test_set_due_and_reset(card, clock):
    card = mature(card, clock)
    card = services.card_set_due(card, NOON + days(30))
    assert card.due == NOON + days(30)
    assert card.stability
    card = services.card_reset(card)
    assert CardState.of(card) == CardState()
    assert_follows_from_log(card)


def lapse(card: Card, clock, times: int) -> Card:
    for _ in range(times):
        while card.state != Card.REVIEW:
            card = grade(card, EASY)
        clock.move_to(card.due)
        card = grade(card, AGAIN)
    return card


def test_a_leech_is_suspended_and_one_undo_takes_both_back(alice, card, clock):
    services.settings_change(alice, leech_lapses=3)
    card = lapse(card, clock, 2)
    assert not card.is_suspended
    card = lapse(card, clock, 1)
    assert (card.lapses, card.is_suspended) == (3, True)
    assert_follows_from_log(card)
    card = services.undo(alice, token(1))
    assert (card.lapses, card.is_suspended) == (2, False)
    assert_follows_from_log(card)


def test_a_leech_taken_back_in_is_suspended_again_after_half_as_many_lapses(alice, card, clock):
    services.settings_change(alice, leech_lapses=4)
    card = services.card_unsuspend(lapse(card, clock, 4))
    assert not lapse(card, clock, 1).is_suspended
    assert lapse(Card.objects.get(), clock, 1).is_suspended


def test_rescheduling_redoes_the_grades_with_the_new_settings(alice, card, clock):
    card = mature(card, clock)
    card = grade(card, GOOD)
    before = card.due
    settings = services.settings_change(alice, desired_retention=0.8, fuzz=False)
    assert services.cards_reschedule(alice, settings.scheduling) == 1
    card.refresh_from_db()
    assert card.due - card.last_review > before - card.last_review
    assert_follows_from_log(card)
    assert services.cards_reschedule(alice, settings.scheduling) == 0


def test_undo_leaves_a_reschedule_in_force(alice, card, clock):
    card = mature(card, clock)
    grade(card, AGAIN)
    settings = services.settings_change(alice, desired_retention=0.8)
    services.cards_reschedule(alice, settings.scheduling)
    card = services.undo(alice, token(1))
    assert card.state == Card.REVIEW
    assert_follows_from_log(card)


def test_settings_keep_what_is_not_named_and_refuse_what_is_not_allowed(alice):
    services.settings_change(alice, desired_retention=0.85, new_per_day=3)
    settings = services.settings_change(alice, maximum_interval=100)
    assert (settings.scheduling.desired_retention, settings.new_per_day) == (0.85, 3)
    with pytest.raises(ValueError, match="out of bounds"):
        services.settings_change(alice, parameters=[0.0] * 21)
    with pytest.raises(ValueError, match="nonsense"):
        services.scheduling_for(alice, nonsense=1)


def test_the_same_settings_are_one_row(alice):
    first = services.settings_change(alice, desired_retention=0.85).scheduling
    services.settings_change(alice, desired_retention=0.9)
    assert services.settings_change(alice, desired_retention=0.85).scheduling == first


def test_into_review_makes_a_card_due_today(alice, clock):
    question = make_question()
    card = services.question_to_review(alice, question)
    assert not events(card)  # a new card counts as asked today
    card = grade(card, EASY)
    card = services.question_to_review(alice, question)
    assert card.due == NOON.replace(hour=4)
    services.question_to_review(alice, question)
    assert events(card) == ["grade", "set_due"]


def test_into_review_wakes_a_card_that_was_put_aside(alice, card):
    services.card_bury(services.card_suspend(card))
    card = services.question_to_review(alice, card.question)
    assert not card.is_suspended
    assert card.buried_until is None


def test_the_log_goes_only_with_its_owner(card):
    grade(card)
    with pytest.raises(TypeError):
        ReviewEvent.objects.all().delete()
    User.objects.all().delete()
    assert not ReviewEvent.objects.exists()


def test_a_grade_and_its_log_entry_are_one_transaction(card, monkeypatch):
    monkeypatch.setattr(services, "tally_add", lambda _event: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        grade(card)
    card.refresh_from_db()
    assert (card.reviews, events(card)) == (0, [])


def test_timings_are_kept_in_utc(card):
    assert grade(card, at=NOON + timedelta(microseconds=7)).last_review.microsecond == 7
