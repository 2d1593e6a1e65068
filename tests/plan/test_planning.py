"""The plan on arrays: what must hold for any deck, and what it advises when time is short."""

import numpy as np
import pytest
from fsrs.scheduler import DEFAULT_PARAMETERS
from hypothesis import given, settings
from hypothesis import strategies as st

from quiz.plan.memory import Memory
from quiz.plan.planning import MAX_CARDS, Plan, Problem, make_plan
from quiz.plan.simulation import Deck, Habits, Policy, simulate

MEMORY = Memory(DEFAULT_PARAMETERS)
# The draws are the same for all plans but fall on other reviews when a day is added: so much noise is left.
NOISE = 0.01


def fresh(cards: int, topics: int = 1) -> Deck:
    unknown = np.full(cards, np.nan)
    return Deck(unknown, unknown, np.zeros(cards), np.zeros(cards), np.arange(cards) * topics // max(cards, 1))


def seen(cards: int, stability: float, last: int) -> Deck:
    values = (np.full(cards, float(value)) for value in (stability, 5, last, last + stability))
    return Deck(*values, topic=np.zeros(cards, dtype=np.int64))


def problem(deck: Deck, days: int = 30, minutes: float = 30, **values: float) -> Problem:
    values = {"retention": 0.9, "new_per_day": 10, **values}
    return Problem(deck, days, minutes, MEMORY, Habits(), **values)


def plan(deck: Deck, days: int = 30, minutes: float = 30, **values: float) -> Plan:
    return make_plan(problem(deck, days, minutes, **values))


counts, day_counts, minutes = st.integers(1, 150), st.integers(1, 45), st.integers(5, 120)


@settings(max_examples=25, deadline=None)
@given(cards=counts, days=day_counts, minutes=minutes)
def test_recall_is_a_probability_and_the_same_inputs_give_the_same_plan(cards, days, minutes):
    found = plan(fresh(cards, 3), days, minutes)
    assert 0 <= found.recall_idle <= found.best.recall + NOISE <= 1 + NOISE
    assert all(0 <= row["recall"] <= 1 for row in found.rows)
    assert found == plan(fresh(cards, 3), days, minutes)


@settings(max_examples=25, deadline=None)
@given(cards=counts, days=day_counts, more=st.integers(1, 20), minutes=minutes)
def test_more_days_never_mean_less_recall(cards, days, more, minutes):
    deck = fresh(cards)
    assert plan(deck, days + more, minutes).best.recall >= plan(deck, days, minutes).best.recall - NOISE


@settings(max_examples=25, deadline=None)
@given(cards=counts, days=day_counts, minutes=minutes)
def test_a_feasible_plan_shows_every_new_card_before_the_date(cards, days, minutes):
    found = plan(fresh(cards), days, minutes)
    introduced = sum(row["new"] for row in found.rows)
    assert introduced == found.best.introduced
    assert found.is_feasible == (found.complete is not None)
    if found.complete:
        assert (found.complete.introduced, found.complete.waiting) == (cards, 0)
        assert found.complete in found.choices


@settings(max_examples=25, deadline=None)
@given(cards=counts, days=day_counts, minutes=minutes)
def test_no_day_takes_longer_than_the_learner_has(cards, days, minutes):
    for choice in plan(fresh(cards), days, minutes).choices:
        assert choice.peak_minutes <= minutes + 1e-6


def test_enough_time_makes_it_feasible():
    found = plan(fresh(100), days=30, minutes=60)
    assert found.is_feasible
    assert found.best.recall > 0.9
    assert (found.minutes_needed, found.cuts) == (None, [])


def test_it_is_the_best_of_the_swept_policies():
    found = plan(fresh(200, 4), days=20, minutes=30)
    assert found.best.recall >= max(choice.recall for choice in found.choices) - 0.005
    assert found.best.recall >= found.current.recall - 0.005


def test_too_little_time_says_how_much_is_needed_and_what_to_cut():
    found = plan(fresh(400, 8), days=14, minutes=20)
    assert not found.is_feasible
    assert found.minutes_needed > 20
    assert plan(fresh(400, 8), days=14, minutes=found.minutes_needed).is_feasible
    assert 0 < len(found.cuts) < 8
    kept = ~np.isin(fresh(400, 8).topic, [cut.topic for cut in found.cuts])
    assert plan(fresh(400, 8).only(kept), days=14, minutes=20).best.introduced == kept.sum()


def test_a_topic_known_well_is_kept_and_of_equal_ones_the_last_goes_first():
    known = seen(50, stability=20, last=-19)
    new = fresh(300, 6)
    both = [np.concatenate(pair) for pair in zip(vars(known).values(), vars(new).values(), strict=True)]
    deck = Deck(*both[:4], topic=np.concatenate([known.topic, new.topic + 1]))
    cut = [cut.topic for cut in plan(deck, days=10, minutes=15).cuts]
    assert 0 not in cut
    assert cut == sorted(cut, reverse=True)


def test_reviews_raise_the_recall_of_what_is_being_forgotten():
    found = plan(seen(100, stability=10, last=-10), days=20)
    assert found.recall_idle < 0.85 < found.best.recall


def test_a_deck_too_large_is_thinned_and_counted_back():
    found = plan(fresh(MAX_CARDS * 3, 2), days=30, minutes=600)
    assert (found.one_of, found.cards) == (3, MAX_CARDS * 3)
    assert found.best.introduced == MAX_CARDS * 3
    assert found.best.peak_minutes <= 600


def test_it_refuses_a_plan_without_days_or_cards():
    with pytest.raises(ValueError, match="0 days"):
        plan(fresh(3), days=0)
    with pytest.raises(ValueError, match="0 cards"):
        plan(fresh(0))


def test_a_simulated_day_answers_the_oldest_first_and_stops_in_time():
    deck = seen(100, stability=1.0, last=-10)
    course = simulate(deck, [Policy(0.9, 0, minutes=10)], days=1, memory=MEMORY, habits=Habits(relearning_steps=0))
    assert course.reviews[0, 0] == 20  # 10 minutes of 30 seconds each
    assert course.waiting[0, 0] == 80
    assert course.spent[0, 0] == 600
