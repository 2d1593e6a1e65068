"""Item statistics: the figures on small numbers of learners, and that only editors see them."""

import csv
import io

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from quiz.models import Attempt, Choice, Question
from quiz.statistics.items import LEAST_LEARNERS, First, discrimination, items_of, options_of
from tests.builders import make_question

PAGE = reverse("statistics-questions")


@pytest.fixture
def learners(db) -> list[User]:
    return [User.objects.create_user(f"learner-{n}") for n in range(12)]


@pytest.fixture
def single(db) -> Question:
    """Position 1 is right."""
    question = make_question(kind=Question.SINGLE)
    for position in range(3):
        Choice.objects.create(question=question, position=position, is_correct=position == 1, text_en=f"C{position}")
    return question


def attempt(owner: User, question: Question, score: float, given=None) -> Attempt:
    return Attempt.objects.create(owner=owner, question=question, score=score, given=given)


def test_facility_is_the_mean_of_first_answers(learners, single):
    for n, learner in enumerate(learners):
        attempt(learner, single, score=float(n < 3), given=[1 if n < 3 else 0])
        attempt(learner, single, score=1.0, given=[1])
    (item,) = items_of([single])
    assert (item.learners, item.facility) == (12, 0.25)


def test_discrimination_is_the_correlation_with_the_other_questions(learners, single):
    other = make_question()
    for n, learner in enumerate(learners):
        attempt(learner, other, score=n / 11)
        attempt(learner, single, score=float(n >= 6), given=[1 if n >= 6 else 2])
    (item,) = items_of([single])
    assert item.discrimination == pytest.approx(0.8687, abs=1e-3)  # of 0 … 11 with its upper half
    assert item.advice == ""


def test_a_question_that_strong_learners_miss_is_pointed_out(learners, single):
    other = make_question()
    for n, learner in enumerate(learners):
        attempt(learner, other, score=n / 11)
        attempt(learner, single, score=float(n < 6), given=[1 if n < 6 else 0])
    (item,) = items_of([single])
    assert item.discrimination < -0.8
    assert item.advice == "negative"


def test_too_few_learners_give_no_discrimination(learners, single):
    other = make_question()
    for n, learner in enumerate(learners[: LEAST_LEARNERS - 1]):
        attempt(learner, other, score=n / 11)
        attempt(learner, single, score=float(n >= 6))
    (item,) = items_of([single])
    assert (item.discrimination, item.advice) == (None, "")


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=LEAST_LEARNERS, max_size=40))
def test_a_discrimination_is_a_correlation(pairs):
    found = discrimination([First(n, score, None, rest) for n, (score, rest) in enumerate(pairs)])
    assert found is None or -1.000001 <= found <= 1.000001


def test_distractors_that_nobody_or_the_best_choose_are_pointed_out(learners, single):
    answers = [First(n, 1.0, [1], 0.3) for n in range(10)] + [First(n, 0.0, [0], 0.9) for n in range(10, 15)]
    options = options_of(single, answers)
    assert [(o.chosen, o.advice) for o in options] == [(5, "strong"), (10, ""), (0, "unused")]
    assert options[0].share == pytest.approx(1 / 3)
    assert options[1].rest == pytest.approx(0.3)


def test_the_pages_show_the_figures(as_staff, learners, single):
    for learner in learners:
        attempt(learner, single, score=0.0, given=[0])
    text = as_staff.get(PAGE).text
    assert single.slug in text
    assert "Hardly anybody gets it right." in text
    detail = as_staff.get(reverse("statistics-question", args=[single.slug])).text
    assert "12 (100 %)" in detail
    assert "it does not distract" in detail


def test_the_csv_has_the_same_rows(as_staff, learners, single):
    for learner in learners:
        attempt(learner, single, score=0.5)
    make_question()
    response = as_staff.get(reverse("statistics-questions-csv"))
    rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
    assert [(r["question"], r["learners"], r["facility"], r["discrimination"]) for r in rows] == [
        (single.slug, "12", "0.5000", "")
    ]


def test_the_number_of_queries_does_not_grow(as_staff, learners, django_assert_num_queries):
    attempt(learners[0], make_question(), 1.0)
    with CaptureQueriesContext(connection) as captured:
        as_staff.get(PAGE)
    for learner in learners:
        attempt(learner, make_question(), 0.5)
    with django_assert_num_queries(len(captured)):
        as_staff.get(PAGE)


@pytest.mark.parametrize("path", [PAGE, reverse("statistics-questions-csv")])
def test_only_editors_see_them(as_alice, as_charlie, path):
    assert as_alice.get(path).status_code == 404
    assert as_charlie.get(path).status_code == 302


def test_a_question_that_is_not_there_is_404(as_staff):
    assert as_staff.get(reverse("statistics-question", args=["nothing"])).status_code == 404
