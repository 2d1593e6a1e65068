"""The writes behind quizzes and interviews."""

import uuid

import pytest

from quiz.models import Attempt, Question, RubricPoint, Sitting, Turn
from quiz.services import MAX_TYPED
from quiz.sittings.services import (
    AlreadyAnswered,
    NotAnswered,
    NotYourSitting,
    SittingFinished,
    TooLong,
    follow_up_after,
    sitting_finish,
    sitting_start,
    turn_add,
    turn_answer,
    turn_asked,
    turn_draft,
    turn_mark,
)
from tests.builders import make_follow_up, make_question

pytestmark = pytest.mark.django_db


def start(user, *questions: Question, **options) -> Sitting:
    return sitting_start(user=user, kind="quiz", options=options, questions=questions, token=uuid.uuid4())


def first_turn(user, question: Question, **options) -> Turn:
    return start(user, question, **options).turns.get()


def with_terms(question: Question, *terms: str) -> Question:
    """One term for each of the question's points."""
    for position, term in enumerate(terms):
        RubricPoint.objects.filter(question=question, position=position).update(terms_en=[term])
    return question


# --- starting and finishing -------------------------------------------------------------------------------------------


def test_a_sitting_has_its_questions_in_order(alice):
    questions = [make_question(), make_question()]
    sitting = start(alice, *questions, count=2)
    assert [(t.position, t.step, t.question) for t in sitting.turns.all()] == [
        (1, 0, questions[0]),
        (2, 0, questions[1]),
    ]
    assert sitting.options == {"count": 2}


def test_the_same_token_is_the_same_sitting(alice, bob):
    values = {"kind": "quiz", "options": {}, "questions": [make_question()], "token": uuid.uuid4()}
    assert sitting_start(user=alice, **values) == sitting_start(user=alice, **values)
    assert Turn.objects.count() == 1
    with pytest.raises(NotYourSitting):
        sitting_start(user=bob, **values)


def test_a_turn_is_added_at_the_end(alice):
    sitting = start(alice, make_question())
    turn = turn_add(sitting=sitting, question=make_question(), reason="weak", seconds=120)
    assert (turn.position, turn.step, turn.reason, turn.seconds) == (2, 0, "weak", 120)


def test_finished_twice_is_finished_once(alice):
    sitting = start(alice, make_question())
    at = sitting_finish(sitting).finished_at
    assert sitting_finish(Sitting.objects.get()).finished_at == at


def test_a_finished_sitting_takes_nothing_more(alice):
    turn = first_turn(alice, make_question())
    sitting_finish(turn.sitting)
    with pytest.raises(SittingFinished):
        turn_answer(turn=turn, typed="late")
    with pytest.raises(SittingFinished):
        turn_draft(turn, {"typed": ["late"]})
    with pytest.raises(SittingFinished):
        turn_add(sitting=turn.sitting, question=make_question())


# --- answering --------------------------------------------------------------------------------------------------------


def test_the_clock_starts_once(alice):
    turn = first_turn(alice, make_question())
    turn_asked(turn)
    at = turn.asked_at
    turn_asked(Turn.objects.get())
    assert at is not None
    assert Turn.objects.get().asked_at == at


def test_a_draft_is_kept_until_the_answer(alice):
    turn = first_turn(alice, make_question())
    turn_draft(turn, {"typed": ["half an ans"]})
    assert Turn.objects.get().draft == {"typed": ["half an ans"]}
    turn_answer(turn=turn, typed="half an answer")
    assert Turn.objects.get().draft == {}
    turn_draft(turn, {"typed": ["too late"]})
    assert Turn.objects.get().draft == {}


def test_a_draft_that_is_too_long_is_refused_and_the_old_one_stays(alice):
    turn = first_turn(alice, make_question())
    turn_draft(turn, {"typed": ["short"]})
    with pytest.raises(TooLong, match=f"{MAX_TYPED + 1} characters, at most {MAX_TYPED}"):
        turn_draft(turn, {"typed": ["x" * (MAX_TYPED + 1)]})
    assert Turn.objects.get().draft == {"typed": ["short"]}


def test_an_answer_becomes_an_attempt(alice):
    turn = first_turn(alice, make_question())
    attempt = turn_answer(turn=turn, typed="because", certainty=2, milliseconds=1200)
    assert (attempt.owner, attempt.typed, attempt.token, attempt.milliseconds) == (alice, "because", turn.token, 1200)
    assert (turn.attempt, turn.certainty, turn.marks) == (attempt, 2, None)


def test_the_same_answer_twice_counts_once_and_another_one_not_at_all(alice):
    turn = first_turn(alice, make_question())
    assert turn_answer(turn=turn, typed="a") == turn_answer(turn=Turn.objects.get(), typed="a")
    with pytest.raises(AlreadyAnswered):
        turn_answer(turn=turn, typed="b")
    assert Attempt.objects.get().typed == "a"


@pytest.mark.parametrize(("given", "certainty", "marks"), [("7", 3, 3.0), ("8", 3, -6.0), ("7", 1, 1.0), ("8", 1, 0.0)])
def test_a_graded_answer_has_its_marks_at_once(alice, given, certainty, marks):
    turn = first_turn(alice, make_question(kind="numeric", spec={"value": 7}))
    turn_answer(turn=turn, given=given, certainty=certainty)
    assert turn.marks == marks


def test_an_unknown_certainty_is_refused(alice):
    with pytest.raises(ValueError, match="Invalid certainty 4; allowed: 1"):
        turn_answer(turn=first_turn(alice, make_question()), certainty=4)


# --- marking ----------------------------------------------------------------------------------------------------------


def test_marks_come_with_the_rubric_points_and_can_be_corrected(alice):
    turn = first_turn(alice, make_question())
    turn_answer(turn=turn, typed="because", certainty=2)
    turn_mark(turn=turn, made=[0])
    assert (turn.attempt.score, turn.attempt.made_points, turn.marks) == (0.75, [0], 1.0)
    turn_mark(turn=turn, made=[0, 1])
    assert (turn.attempt.score, turn.marks) == (1.0, 2.0)


def test_marking_needs_an_answer_an_open_question_and_points_that_exist(alice):
    turn = first_turn(alice, make_question())
    with pytest.raises(NotAnswered):
        turn_mark(turn=turn, made=[])
    turn_answer(turn=turn, typed="because")
    with pytest.raises(ValueError, match=r"Invalid rubric points \[9\]"):
        turn_mark(turn=turn, made=[9])
    graded = first_turn(alice, make_question(kind="numeric", spec={"value": 7}))
    turn_answer(turn=graded, given="7")
    with pytest.raises(ValueError, match="graded by the machine"):
        turn_mark(turn=graded, made=[])


def test_a_finished_sitting_takes_the_same_marks_again_but_no_others(alice):
    turn = first_turn(alice, make_question())
    turn_answer(turn=turn, typed="because")
    turn_mark(turn=turn, made=[0])
    sitting_finish(turn.sitting)
    turn_mark(turn=turn, made=[0])
    with pytest.raises(SittingFinished):
        turn_mark(turn=turn, made=[1])


# --- follow-ups -------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(db) -> Question:
    """A question with two follow-ups, the first with one of its own."""
    question = with_terms(make_question(slug="root", difficulty=3), "freeze", "rank")
    first = make_follow_up(question, slug="first", difficulty=4, prompt_en="What does quantising change?")
    make_follow_up(first, slug="deep", difficulty=5, prompt_en="And on the backward pass?")
    make_follow_up(question, slug="second", difficulty=2, prompt_en="Why rank, and which rubric of rank?")
    return question


def answered(turn: Turn, typed: str, made: list[int], certainty: int | None = None) -> Turn:
    turn_answer(turn=turn, typed=typed, certainty=certainty)
    turn_mark(turn=turn, made=made)
    return turn


def test_a_good_answer_leads_deeper(alice, tree):
    turn = answered(first_turn(alice, tree, follow_ups=3), "freeze at low rank", [0, 1])
    path = []
    while following := follow_up_after(turn):
        path.append((following.question.slug, following.reason, following.position, following.step))
        assert following.after == turn
        turn = answered(following, "all of it", [0, 1])
    assert path == [("first", "deeper", 1, 1), ("deep", "deeper", 1, 2), ("second", "deeper", 1, 3)]
    assert Attempt.objects.filter(after=None).count() == 1


def test_a_missed_point_leads_to_its_follow_up(alice, tree):
    turn = answered(first_turn(alice, tree, follow_ups=1), "freeze", [0])
    following = follow_up_after(turn)
    assert (following.question.slug, following.reason, following.missed) == ("second", "missed", 1)


def test_a_guess_leads_to_the_easiest(alice, tree):
    following = follow_up_after(answered(first_turn(alice, tree, follow_ups=1), "freeze, rank", [0, 1], certainty=1))
    assert (following.question.slug, following.reason) == ("second", "uncertain")


def test_before_marking_the_text_decides(alice, tree):
    turn = first_turn(alice, tree, follow_ups=1)
    turn_answer(turn=turn, typed="We freeze everything.")
    assert follow_up_after(turn).missed == 1


def test_asked_twice_is_asked_once_and_the_limit_holds(alice, tree):
    turn = answered(first_turn(alice, tree, follow_ups=1), "freeze at low rank", [0, 1])
    following = follow_up_after(turn)
    assert follow_up_after(turn) == following
    assert follow_up_after(answered(following, "", [0, 1])) is None
    assert follow_up_after(answered(first_turn(alice, tree), "x", [])) is None


def test_drafts_are_never_asked(alice, tree):
    tree.follow_ups.update(status="draft")
    assert follow_up_after(answered(first_turn(alice, tree, follow_ups=3), "x", [0, 1])) is None
