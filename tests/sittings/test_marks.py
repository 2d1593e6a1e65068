"""Certainty-based marks and calibration: what must hold for every answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiz.sittings.calibration import calibration, calibration_chart
from quiz.sittings.marks import RIGHT, WRONG, certainty_marks

SHARES = st.floats(0, 1)
CERTAINTIES = st.sampled_from([1, 2, 3])


@pytest.mark.parametrize(("certainty", "right", "wrong"), [(1, 1, 0), (2, 2, -2), (3, 3, -6)])
def test_right_and_wrong_have_the_marks_of_the_scheme(certainty, right, wrong):
    assert (certainty_marks(1, certainty), certainty_marks(0, certainty)) == (right, wrong)


@given(SHARES, SHARES, CERTAINTIES)
def test_a_better_answer_never_has_fewer_marks(one, other, certainty):
    low, high = sorted((one, other))
    assert WRONG[certainty] <= certainty_marks(low, certainty) <= certainty_marks(high, certainty) <= RIGHT[certainty]


@given(SHARES, CERTAINTIES)
def test_what_is_expected_depends_on_the_expected_score_alone(chance, certainty):
    expected = chance * certainty_marks(1, certainty) + (1 - chance) * certainty_marks(0, certainty)
    assert certainty_marks(chance, certainty) == pytest.approx(expected)


@given(SHARES)
def test_it_pays_to_be_honest(chance):
    best = max(RIGHT, key=lambda certainty: certainty_marks(chance, certainty))
    honest = 1 if chance < 2 / 3 else 2 if chance < 0.8 else 3
    assert certainty_marks(chance, honest) == pytest.approx(certainty_marks(chance, best))


@pytest.mark.parametrize(("score", "certainty", "name"), [(1, 0, "certainty"), (1, 4, "certainty"), (1.1, 1, "score")])
def test_what_does_not_exist_is_refused(score, certainty, name):
    with pytest.raises(ValueError, match=f"Invalid {name}"):
        certainty_marks(score, certainty)


@given(st.lists(st.tuples(CERTAINTIES, SHARES), min_size=1))
def test_a_level_for_each_certainty_holds_its_share(answers):
    levels = calibration(answers)
    assert [level.certainty for level in levels] == sorted({certainty for certainty, _score in answers})
    assert sum(level.count for level in levels) == len(answers)
    assert all(0 <= level.low <= level.right + 1e-9 and level.right - 1e-9 <= level.high <= 1 for level in levels)


def test_few_answers_prove_nothing_and_many_do():
    assert calibration([(3, 0.0)] * 4)[0].verdict == "too few"
    assert calibration([(3, 0.0)] * 20)[0].verdict == "overconfident"
    assert calibration([(1, 1.0)] * 20)[0].verdict == "underconfident"
    assert calibration([(2, 0.75)] * 20)[0].verdict == "calibrated"


def test_the_chart_shows_the_stated_chance_against_the_right_answers():
    chart = calibration_chart(calibration([(1, 0.0), (1, 1.0), (3, 1.0)]))
    assert "50" in chart
    assert "<svg" in chart
    assert "style=" not in chart
