"""What a quiz does beyond one turn: which one is next, the follow-ups, the end."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction

from quiz.models import Question, Sitting, Turn
from quiz.sittings.options import QuizOptions
from quiz.sittings.services import follow_up_after, sitting_finish, turn_answer, turn_mark


def options_of(sitting: Sitting) -> QuizOptions:
    return QuizOptions.model_validate(sitting.options)


def is_unmarked(turn: Turn) -> bool:
    """An open answer whose rubric points the learner has not marked yet."""
    return turn.attempt is not None and turn.question.kind == Question.OPEN and turn.attempt.score is None


def next_turn(turns: Sequence[Turn], feedback: str) -> Turn | None:
    """The first one with something to do; with feedback at the end marking comes after all answers."""
    if feedback == "immediate":
        return next((turn for turn in turns if turn.attempt is None or is_unmarked(turn)), None)
    unanswered = next((turn for turn in turns if turn.attempt is None), None)
    return unanswered or next((turn for turn in turns if is_unmarked(turn)), None)


@transaction.atomic
def quiz_answer(
    *, turn: Turn, typed: str = "", given: Any = None, certainty: int | None = None, milliseconds: int = 0
) -> Turn:
    """Answer, then ask the follow-up; an open answer gets it after its marking where that comes at once."""
    options = options_of(turn.sitting)
    turn_answer(turn=turn, typed=typed, given=given, certainty=certainty, milliseconds=milliseconds)
    if options.feedback == "end" or turn.question.kind != Question.OPEN:
        follow_up_after(turn)
    _finish_if_done(turn.sitting, options)
    return turn


@transaction.atomic
def quiz_mark(*, turn: Turn, made: Iterable[int]) -> Turn:
    options = options_of(turn.sitting)
    turn_mark(turn=turn, made=made)
    if options.feedback == "immediate":
        follow_up_after(turn)
    _finish_if_done(turn.sitting, options)
    return turn


def _finish_if_done(sitting: Sitting, options: QuizOptions) -> None:
    turns = list(sitting.turns.select_related("question", "attempt"))
    if next_turn(turns, options.feedback) is None:
        sitting_finish(sitting)
