"""The share of a rubric's weight that an answer earned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiz.grading import rubric_score

rubrics = st.dictionaries(st.integers(0, 20), st.integers(1, 5), min_size=1)


@st.composite
def graded(draw):
    """A rubric and the positions that were made."""
    weights = draw(rubrics)
    return weights, draw(st.lists(st.sampled_from(sorted(weights))))


def test_weights_count():
    assert rubric_score({0: 3, 1: 1}, [0]) == 0.75
    assert rubric_score({0: 3, 1: 1}, [1]) == 0.25


@given(graded())
def test_a_score_is_a_share(case):
    assert 0 <= rubric_score(*case) <= 1


@given(rubrics)
def test_nothing_is_0_and_everything_is_1(weights):
    assert rubric_score(weights, []) == 0
    assert rubric_score(weights, weights) == 1


@given(graded())
def test_a_point_counts_once_and_in_any_order(case):
    weights, made = case
    assert rubric_score(weights, made + made[::-1]) == rubric_score(weights, made)


@given(graded(), st.data())
def test_another_point_never_lowers_the_score(case, data):
    weights, made = case
    more = data.draw(st.sampled_from(sorted(weights)))
    assert rubric_score(weights, [*made, more]) >= rubric_score(weights, made)


@given(graded())
def test_the_rest_of_the_rubric_is_the_rest_of_the_score(case):
    weights, made = case
    rest = weights.keys() - set(made)
    assert rubric_score(weights, made) + rubric_score(weights, rest) == pytest.approx(1)


def test_an_unknown_point_is_named():
    with pytest.raises(ValueError, match=r"Invalid rubric points \[7\]; allowed: \[0, 1\]"):
        rubric_score({0: 3, 1: 1}, [0, 7])


def test_an_empty_rubric_scores_nothing():
    assert rubric_score({}, []) == 0
