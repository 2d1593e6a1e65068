"""Schedules are the `fsrs` library's, and fuzz is what the library's would be, drawn by the token."""

import uuid
from datetime import UTC, datetime, timedelta

import fsrs
import pytest
from fsrs.rating import Rating
from hypothesis import given, settings
from hypothesis import strategies as st

from quiz.models import Card, ReviewEvent, Scheduling
from quiz.review.scheduling import DEFAULTS, fuzzed, preview, retrievability, scheduler
from quiz.review.states import CardState, apply

AGAIN, HARD, GOOD, EASY = Rating.Again, Rating.Hard, Rating.Good, Rating.Easy
START = datetime(2022, 11, 29, 12, 30, tzinfo=UTC)


def scheduling(**values) -> Scheduling:
    return Scheduling(**DEFAULTS | {"fuzz": False} | values)


def grade(state: CardState, rating: int, at: datetime, s: Scheduling) -> CardState:
    return apply(state, ReviewEvent(action="grade", rating=rating, at=at, token=uuid.uuid4()), s)


def play(ratings, s: Scheduling, *, gaps=None) -> tuple[CardState, list[int]]:
    """Grades, each when the card is due or after the gaps given in days; the state and the intervals in days."""
    state, at, intervals = CardState(), START, []
    for n, rating in enumerate(ratings):
        at = at + timedelta(days=gaps[n]) if gaps else at
        state = grade(state, rating, at, s)
        intervals.append((state.due - at).days)
        at = at if gaps else state.due
    return state, intervals


def test_the_intervals_of_the_librarys_own_sequence():
    ratings = [GOOD] * 6 + [AGAIN] * 2 + [GOOD] * 5
    assert play(ratings, scheduling())[1] == [0, 2, 11, 46, 163, 498, 0, 0, 2, 4, 7, 12, 21]


def test_the_memory_state_of_the_librarys_own_sequence():
    ratings, gaps = [AGAIN, GOOD, GOOD, GOOD, GOOD, GOOD], [0, 0, 1, 3, 8, 21]
    state, _intervals = play(ratings, scheduling(), gaps=gaps)
    assert state.stability == pytest.approx(53.62691, abs=1e-4)
    assert state.difficulty == pytest.approx(6.3574867, abs=1e-4)


def test_repeated_easy_reviews_reach_the_least_difficulty():
    state, at = CardState(), START
    for n in range(10):
        state = grade(state, EASY, at + timedelta(microseconds=n), scheduling())
    assert state.difficulty == 1.0


MINUTES = st.lists(st.integers(1, 600), max_size=3)
SCHEDULINGS = st.builds(
    scheduling,
    desired_retention=st.floats(0.7, 0.97),
    learning_steps=MINUTES,
    relearning_steps=MINUTES,
    maximum_interval=st.integers(1, 36_500),
)


@settings(max_examples=300, deadline=None)
@given(s=SCHEDULINGS, grades=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 400 * 86_400)), max_size=15))
def test_a_card_is_always_where_the_library_has_it(s, grades):
    """Without fuzz, to the last digit, whatever the settings, the ratings and the pauses."""
    theirs = fsrs.Card(card_id=1, due=START)
    library = fsrs.Scheduler(
        parameters=s.parameters,
        desired_retention=s.desired_retention,
        learning_steps=[timedelta(minutes=m) for m in s.learning_steps],
        relearning_steps=[timedelta(minutes=m) for m in s.relearning_steps],
        maximum_interval=s.maximum_interval,
        enable_fuzzing=False,
    )
    ours, at = CardState(), START
    for rating, seconds in grades:
        at += timedelta(seconds=seconds)
        theirs, _log = library.review_card(theirs, Rating(rating), at)
        ours = grade(ours, rating, at, s)
        assert (ours.state, ours.step, ours.due) == (theirs.state.value, theirs.step, theirs.due)
        assert (ours.stability, ours.difficulty) == (theirs.stability, theirs.difficulty)
        later = at + timedelta(days=9)
        assert retrievability(ours, later, s) == library.get_card_retrievability(theirs, later)


@settings(max_examples=300, deadline=None)
@given(days=st.integers(1, 40_000), maximum=st.integers(1, 36_500), chance=st.floats(0, 0.999999))
def test_fuzz_is_the_librarys_for_the_same_chance(days, maximum, chance):
    days = min(days, maximum)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fsrs.scheduler.random", lambda: chance)
        library = fsrs.Scheduler(maximum_interval=maximum)
        expected = library._get_fuzzed_interval(interval=timedelta(days=days)).days
        patch.setattr(
            "quiz.review.scheduling.random.Random", lambda _seed: type("R", (), {"random": lambda _: chance})()
        )
        assert fuzzed(days, maximum, uuid.uuid4()) == expected


def test_fuzz_follows_from_the_token_and_differs_between_tokens():
    tokens = [uuid.UUID(int=n) for n in range(200)]
    drawn = [fuzzed(100, 36_500, token) for token in tokens]
    assert drawn == [fuzzed(100, 36_500, token) for token in tokens]
    assert len(set(drawn)) > 10
    assert all(91 <= days <= 110 for days in drawn)


def test_the_preview_is_what_a_grade_gives_and_needs_no_fuzz_without_a_token():
    s, token = scheduling(fuzz=True), uuid.UUID(int=5)
    state = play([EASY, GOOD], scheduling())[0]
    shown = preview(state, s, state.due, token)
    for rating, due in shown.items():
        event = ReviewEvent(action="grade", rating=rating, at=state.due, token=token)
        assert apply(state, event, s).due == due
    plain = preview(state, s, state.due)
    assert plain == preview(state, scheduling(), state.due)
    assert sorted(plain.values()) == [plain[rating] for rating in (1, 2, 3, 4)]


def test_a_new_card_is_not_recalled():
    assert retrievability(Card(), START, scheduling()) == 0


def test_parameters_out_of_bounds_are_refused():
    with pytest.raises(ValueError, match="out of bounds"):
        scheduler(scheduling(parameters=[0.0] * 21))
