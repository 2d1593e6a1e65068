"""Which questions a quiz is built from."""

from datetime import timedelta

import pytest
from django.utils import timezone

from kb.search import rebuild_index
from quiz.models import Attempt, Card
from quiz.sittings.options import QuizOptions
from quiz.sittings.selection import draw_questions, questions_matching
from tests.builders import make_follow_up, make_question, make_topic

pytestmark = pytest.mark.django_db


def slugs(user, **options) -> set[str]:
    return set(questions_matching(user, QuizOptions(**options), "en").values_list("slug", flat=True))


def answered(user, question, score: float | None = None, grade: int | None = None) -> Attempt:
    return Attempt.objects.create(owner=user, question=question, score=score, grade=grade)


@pytest.fixture
def questions(db):
    one = make_question(slug="one", difficulty=1, kind="open")
    two = make_question(slug="two", difficulty=3, kind="single", topic=make_topic("memory"))
    draft = make_question(slug="draft", status="draft")
    below = make_follow_up(one, slug="below", difficulty=2)
    return {"one": one, "two": two, "draft": draft, "below": below}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"one", "two"}),
        ({"topics": ["memory"]}, {"two"}),
        ({"topics": ["memory", "math"]}, {"one", "two"}),
        ({"kinds": ["open"]}, {"one"}),
        ({"easiest": 2}, {"two"}),
        ({"hardest": 2}, {"one"}),
        ({"topics": ["memory"], "kinds": ["open"]}, set()),
        ({"questions": ["below", "two"], "kinds": ["order"]}, {"below", "two"}),
        ({"states": ["new"]}, {"one", "two"}),
        ({"states": ["wrong"]}, set()),
    ],
)
def test_filters_are_combined(alice, questions, options, expected):
    assert slugs(alice, **options) == expected


def test_what_was_answered_is_not_new(alice, bob, questions):
    answered(alice, questions["one"], score=1.0)
    answered(alice, questions["two"])  # not judged yet
    assert slugs(alice, states=["new"]) == {"two"}
    assert slugs(bob, states=["new"]) == {"one", "two"}


def test_a_reviewed_card_is_not_new(alice, questions):
    Card.objects.create(owner=alice, question=questions["one"], state=Card.REVIEW)
    Card.objects.create(owner=alice, question=questions["two"], state=Card.NEW)
    assert slugs(alice, states=["new"]) == {"two"}


def test_the_last_answer_makes_a_mistake_and_any_wrong_one_stays_wrong(alice, bob, questions):
    answered(alice, questions["one"], score=0.2)
    answered(alice, questions["one"], score=1.0)
    answered(alice, questions["two"], score=1.0)
    answered(alice, questions["below"], score=0.7, grade=1)
    answered(bob, questions["two"], score=0.0)
    assert slugs(alice, mistakes=True) == {"below"}
    assert slugs(alice, states=["wrong"]) == {"one", "below"}
    assert slugs(alice, states=["weak"]) == {"below"}
    assert slugs(alice, states=["weak", "wrong"], hardest=1) == {"one"}
    assert slugs(bob, mistakes=True) == {"two"}


def test_due_cards_are_those_of_the_learners_day(alice, questions):
    now = timezone.now()
    for name, values in {
        "one": {"due": now - timedelta(days=1)},
        "two": {"due": now + timedelta(days=3)},
        "below": {"due": now - timedelta(days=1), "is_suspended": True},
    }.items():
        Card.objects.create(owner=alice, question=questions[name], state=Card.REVIEW, **values)
    assert slugs(alice, states=["due"]) == {"one"}
    Card.objects.update(buried_until=now + timedelta(hours=5))
    assert slugs(alice, states=["due"]) == set()


def test_a_search_finds_by_words_and_a_follow_up_counts_for_its_question(alice, questions):
    questions["two"].prompt_en = "What does sharding cost?"
    questions["two"].save()
    questions["below"].answer_en = "Because of quantising."
    questions["below"].save()
    rebuild_index()
    assert slugs(alice, search="sharding") == {"two"}
    assert slugs(alice, search="quantising") == {"one"}
    assert slugs(alice, search="nothing-like-it") == set()


def test_the_same_token_draws_the_same_questions(alice):
    for _n in range(30):
        make_question()
    options = QuizOptions(count=7)
    first, again, other = (draw_questions(alice, options, "en", seed) for seed in ("a", "a", "b"))
    assert first == again != other
    assert len(set(first)) == 7
    assert len(draw_questions(alice, QuizOptions(count=100), "en", "a")) == 30


@pytest.mark.parametrize(
    "options",
    [{"easiest": 4, "hardest": 2}, {"count": 0}, {"count": 101}, {"kinds": ["essay"]}, {"feedback": "never"}, {"x": 1}],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="QuizOptions"):
        QuizOptions(**options)
