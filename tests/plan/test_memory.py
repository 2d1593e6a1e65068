"""The formulas on arrays give what the fsrs library gives for each card."""

from datetime import UTC, datetime, timedelta

import fsrs
import numpy as np
from fsrs.scheduler import DEFAULT_PARAMETERS
from hypothesis import given
from hypothesis import strategies as st

from quiz.plan.memory import Memory

MEMORY = Memory(DEFAULT_PARAMETERS)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ratings = st.sampled_from([1, 2, 3, 4])


def array(value: float) -> np.ndarray:
    return np.array([value])


@given(first=ratings, later=st.lists(st.tuples(st.integers(0, 400), ratings), max_size=12))
def test_a_history_leaves_the_stability_and_difficulty_of_the_library(first, later):
    scheduler, card, now = fsrs.Scheduler(), fsrs.Card(), NOON
    card, _ = scheduler.review_card(card, fsrs.Rating(first), now)
    stability, difficulty = MEMORY.first_day(np.array([first]), np.array([0]))
    for days, rating in later:
        now += timedelta(days=days)
        recall = MEMORY.recall(array(days), stability)
        rated = np.array([rating])
        if days:
            stability = MEMORY.stability(stability, difficulty, recall, rated)
        else:
            stability = MEMORY.same_day_stability(stability, rated)
        difficulty = MEMORY.difficulty(difficulty, rated)
        card, _ = scheduler.review_card(card, fsrs.Rating(rating), now)
        np.testing.assert_allclose([stability[0], difficulty[0]], [card.stability, card.difficulty], rtol=1e-9)


@given(stability=st.floats(0.001, 5000), days=st.integers(0, 2000))
def test_recall_is_the_librarys_retrievability(stability, days):
    card = fsrs.Card(stability=stability, difficulty=5, last_review=NOON, state=fsrs.State.Review)
    expected = fsrs.Scheduler().get_card_retrievability(card, NOON + timedelta(days=days))
    np.testing.assert_allclose(MEMORY.recall(array(days), array(stability)), [expected], rtol=1e-9)


@given(stability=st.floats(0.01, 5000), retention=st.sampled_from([0.7, 0.8, 0.9, 0.95, 0.97]))
def test_an_interval_is_the_librarys(stability, retention):
    expected = fsrs.Scheduler(desired_retention=retention)._next_interval(stability=stability)
    assert MEMORY.interval(array(stability), retention)[0] == expected


def test_learning_steps_end_like_the_librarys():
    scheduler, card = fsrs.Scheduler(), fsrs.Card()
    for rating in (1, 3, 3):  # again, then both steps
        card, _ = scheduler.review_card(card, fsrs.Rating(rating), NOON)
    assert card.state == fsrs.State.Review
    stability, difficulty = MEMORY.first_day(np.array([1]), np.array([2]))
    np.testing.assert_allclose([stability[0], difficulty[0]], [card.stability, card.difficulty], rtol=1e-9)
