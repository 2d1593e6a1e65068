"""Every grade and dimension has its words."""

from quiz.models import Attempt, RubricPoint
from quiz.templatetags import practice


def test_every_grade_has_a_title_and_a_meaning() -> None:
    grades = [grade for grade, _title in Attempt.GRADES]
    assert [practice.grade_title(grade) for grade in grades] == ["Again", "Hard", "Good", "Easy"]
    assert all(practice.grade_meaning(grade) for grade in grades)


def test_every_dimension_has_a_title() -> None:
    assert all(practice.dimension_title(dimension) for dimension, _title in RubricPoint.DIMENSIONS)


def test_a_share_is_shown_in_percent() -> None:
    assert practice.percent(5 / 6) == "83 %"
