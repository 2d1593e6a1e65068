"""Scores: what must hold for every answer."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiz.drawing import fill
from quiz.grading import choice_score, cloze_score, gaps, number_score, order_score, parse_number, parse_quantity

POSITIONS = st.sets(st.integers(0, 9))


RIGHT = POSITIONS.filter(bool)


@given(RIGHT, POSITIONS)
def test_choices_score_between_nothing_and_full_marks(right, chosen):
    score = choice_score(right, chosen, 10)
    assert 0 <= score <= 1
    assert (score == 1) == (chosen == right)


@given(RIGHT.filter(lambda right: len(right) < 10))
def test_ticking_everything_gains_nothing(right):
    assert choice_score(right, range(10), 10) == 0


@given(RIGHT, POSITIONS, st.integers(0, 9))
def test_one_more_right_choice_never_costs_and_a_wrong_one_never_gains(right, chosen, one_more):
    before, after = choice_score(right, chosen, 10), choice_score(right, chosen | {one_more}, 10)
    assert after >= before if one_more in right else after <= before


@given(st.integers(2, 8), st.integers(0, 7))
def test_a_single_choice_is_right_or_wrong(options, chosen):
    assert choice_score({0}, {chosen % options}, options) == (chosen % options == 0)


@given(st.permutations(range(5)))
def test_only_the_right_order_has_full_marks(order):
    score = order_score(order)
    assert 0 <= score <= 1
    assert (score == 1) == (order == sorted(order))


@given(st.permutations(range(6)), st.integers(0, 4))
def test_putting_two_neighbours_right_never_costs(order, place):
    better = list(order)
    better[place : place + 2] = sorted(better[place : place + 2])
    assert order_score(better) >= order_score(order)


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_one_more_right_gap_gains_the_same_everywhere(filled, data):
    accepted = [[f"word{n}", f"term{n}"] for n in range(len(filled))]
    given_texts = [answers[0] if is_right else "?" for answers, is_right in zip(accepted, filled, strict=True)]
    score = cloze_score(accepted, given_texts)
    assert score == sum(filled) / len(filled)
    place = data.draw(st.integers(0, len(filled) - 1))
    given_texts[place] = f"Term {place}"
    assert cloze_score(accepted, given_texts) >= score


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


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("7", "GB", 7),
        ("7 GB", "GB", 7),
        ("7000 mb", "GB", 7),
        ("1 GiB", "GB", 1.073741824),
        ("2 TB", "TB", 2),
        ("0.5 s", "ms", 500),
        ("12.5 %", "%", 12.5),
        ("12.5％", "%", 12.5),
        ("3 x", "×", 3),
        ("3倍", "×", 3),
        ("4.7M", "parameters", 4.7e6),
        ("4.7 million parameters", "parameters", 4.7e6),
        ("470万", "parameters", 4.7e6),
        ("3 million tokens", "million tokens", 3),
        ("2 bits", "bits", 2),
        ("1/8", "", 0.125),
        ("4e3 GFLOP", "TFLOP", 4),
    ],
)
def test_a_unit_that_fits_is_understood(text, unit, number):
    assert parse_quantity(text, unit) == pytest.approx(number)


@pytest.mark.parametrize(("text", "unit"), [("7 GB", "ms"), ("7 apples", "GB"), ("7 GB", ""), ("3 million", "GB")])
def test_a_unit_that_does_not_fit_is_refused(text, unit):
    with pytest.raises(ValueError, match="does not end in a unit that fits"):
        parse_quantity(text, unit)


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
