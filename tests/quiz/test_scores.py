"""Scores: what must hold for every answer."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiz.drawing import fill
from quiz.grading import choice_score, cloze_score, gaps, number_score, order_score, parse_number

POSITIONS = st.sets(st.integers(0, 9))


@given(POSITIONS.filter(bool), POSITIONS)
def test_choices_score_between_nothing_and_full_marks(right, chosen):
    score = choice_score(right, chosen)
    assert 0 <= score <= 1
    assert (score == 1) == (chosen == right)


@given(POSITIONS.filter(lambda right: 0 < len(right) <= 5))
def test_ticking_everything_gains_nothing_when_half_is_wrong(right):
    assert choice_score(right, range(10)) == 0


@given(st.permutations(range(5)))
def test_only_the_right_order_has_full_marks(order):
    score = order_score(order)
    assert 0 <= score <= 1
    assert (score == 1) == (order == sorted(order))


@pytest.mark.parametrize("order", [[0, 0, 1], [1, 2, 3], [0, 2]])
def test_an_order_that_is_none_is_refused(order):
    with pytest.raises(ValueError, match="Invalid order"):
        order_score(order)


@given(st.floats(-1e12, 1e12), st.floats(0.001, 0.2))
def test_a_number_is_right_inside_its_tolerance_and_wrong_outside(expected, tolerance):
    assert number_score(expected, expected, tolerance) == 1
    if abs(expected) > 1e-6:
        assert number_score(expected, expected * (1 + tolerance * 0.99), tolerance) == 1
        assert number_score(expected, expected * (1 + tolerance * 1.01), tolerance) == 0


@pytest.mark.parametrize(
    ("text", "number"),
    [("4,718,592", 4718592), ("4.7e6", 4.7e6), ("1/8", 0.125), ("３．５", 3.5), ("−2", -2), (" 7 ", 7)],
)
def test_numbers_are_read_as_people_write_them(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["", "eight", "1/0", "nan", "inf", "1e999", "1/2/3", "0x10"])
def test_what_is_no_finite_number_is_refused(text):
    with pytest.raises(ValueError, match="is not a number"):
        parse_number(text)


def test_gaps_are_read_with_their_alternatives():
    assert gaps("a {{one | two}} b {{three}}") == [["one", "two"], ["three"]]


def test_a_cloze_counts_its_gaps():
    accepted = [["NF4"], ["double quantisation", "双重量化"], ["bf16"]]
    assert cloze_score(accepted, ["nf-4", "双重 量化", "fp32"]) == pytest.approx(2 / 3)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-12, max_value=1e15))
def test_a_number_filled_into_mathematics_is_latex(value):
    filled = fill("so $x = <<value>>$", {"value": value})
    assert "×" not in filled
    assert not math.isnan(float(filled[8:-1].replace("{,}", "").replace(r" \times 10^{", "e").replace("}", "")))
