"""Writes of the mock interview: one function an action, each one transaction.

The interview is its turns: the last one is being asked, or answered and being marked. Going on adds the next one, a
follow-up or a question, or ends the interview. Nothing else is kept, so that any device resumes at the same place.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from labs.broker import BrokerDown
from quiz.interview import grader
from quiz.interview.choice import choose
from quiz.interview.options import InterviewOptions, allowed_seconds
from quiz.interview.queries import asked_questions, candidates, options_of, topic_mastery
from quiz.models import Attempt, Question, Sitting, Turn
from quiz.sittings.services import (
    MAX_MILLISECONDS,
    follow_up_after,
    sitting_finish,
    sitting_start,
    turn_add,
    turn_answer,
    turn_asked,
    turn_mark,
)

# After each question at most so many; the next subject is worth more than a third one.
FOLLOW_UPS = 2
# With less time than this left no further question is asked.
LEAST_SECONDS = 30
# A question that waits this long, and longer than twice its time, was left: coming back starts its clock again.
LEFT_AFTER = timedelta(minutes=30)


class NoQuestion(ValueError):
    """Nothing to ask with these options."""


@transaction.atomic
def interview_start(*, user: User, options: InterviewOptions, token: UUID) -> Sitting:
    """Ask the first question. The same token gives the same interview."""
    sitting = sitting_start(
        user=user, kind=Sitting.INTERVIEW, options=options.model_dump(mode="json"), questions=[], token=token
    )
    if not sitting.turns.exists() and _question_next(sitting, [], None) is None:
        raise NoQuestion(f"No question matches {options!r}")
    return sitting


@transaction.atomic
def interview_answer(*, turn: Turn, typed: str, given: Any, certainty: int | None) -> Attempt:
    """Keep the answer with the time that it took, and ask the grader where the learner wants that."""
    attempt = turn_answer(
        turn=turn, typed=typed, given=given, certainty=certainty, milliseconds=milliseconds_since(turn.asked_at)
    )
    wanted = options_of(turn.sitting).grader and settings.GRADER_URL and turn.question.kind == Question.OPEN
    if wanted and typed.strip() and not turn.advice:
        Turn.objects.filter(pk=turn.pk, advice={}).update(advice=grader.WAITING)
        transaction.on_commit(lambda: _send_to_grader(turn.pk))
    return attempt


def _send_to_grader(turn_id: int) -> None:
    try:
        grader.send(turn_id)
    except BrokerDown:
        Turn.objects.filter(pk=turn_id).update(advice=grader.failed("queue"))


@transaction.atomic
def interview_mark(*, turn: Turn, made: list[int]) -> Turn | None:
    """Store what the learner finds in an open answer, and go on: the next turn, or None when the interview is over."""
    if turn.question.kind == Question.OPEN:
        turn_mark(turn=turn, made=made)
    return _go_on(turn)


@transaction.atomic
def interview_resume(turn: Turn) -> None:
    """Start the clock of the waiting question again, for somebody who comes back; sent twice changes little."""
    Turn.objects.filter(pk=turn.pk, attempt=None).update(asked_at=timezone.now())


def interview_finish(sitting: Sitting) -> Sitting:
    return sitting_finish(sitting)


def is_left(turn: Turn, now: datetime) -> bool:
    """Whether the question has waited so long that its learner must have gone away."""
    if turn.attempt_id or turn.asked_at is None:
        return False
    return now - turn.asked_at > max(LEFT_AFTER, timedelta(seconds=2 * (turn.seconds or 0)))


def milliseconds_since(asked_at: datetime | None) -> int:
    """By the server's clock; never more than an attempt may have."""
    if asked_at is None:
        return 0
    return min(MAX_MILLISECONDS, max(0, round((timezone.now() - asked_at).total_seconds() * 1000)))


def seconds_used(turns: list[Turn]) -> float:
    """Time spent on answering; comparing and marking do not count."""
    return sum(turn.attempt.milliseconds for turn in turns if turn.attempt) / 1000


def seconds_left(sitting: Sitting, turns: list[Turn]) -> float | None:
    """Of the whole interview; None where a number of questions ends it."""
    minutes = options_of(sitting).minutes
    return None if minutes is None else max(0.0, minutes * 60 - seconds_used(turns))


def _go_on(turn: Turn) -> Turn | None:
    """What comes after an answered turn, only once even when it is asked for twice."""
    sitting = Sitting.objects.select_for_update().get(pk=turn.sitting_id)
    turns = list(sitting.turns.select_related("question", "attempt"))
    last = turns[-1]
    if sitting.finished_at or last.pk != turn.pk:
        return None if sitting.finished_at else last
    left = seconds_left(sitting, turns)
    if left is not None and left < LEAST_SECONDS:
        sitting_finish(sitting)
        return None
    following = follow_up_after(turn, limit=FOLLOW_UPS)
    if following is None:
        following = _question_next(sitting, turns, left)
    if following is None:
        sitting_finish(sitting)
        return None
    return _ask(following, left)


def _question_next(sitting: Sitting, turns: list[Turn], left: float | None) -> Turn | None:
    """The next question that is no follow-up; None when there have been enough."""
    options, asked = options_of(sitting), asked_questions(turns)
    if options.questions is not None and len(asked) >= options.questions:
        return None
    user = sitting.owner
    choice = choose(
        candidates(user, options), asked, start=options.level, mastery=topic_mastery(user), seed=str(sitting.token)
    )
    if choice is None:
        return None
    turn = turn_add(sitting=sitting, question=Question.objects.get(pk=choice.pk), reason=choice.reason)
    return _ask(turn, left)


def _ask(turn: Turn, left: float | None) -> Turn:
    """Give the turn its time and start its clock."""
    allowed = allowed_seconds(turn.question.kind, turn.question.difficulty, is_follow_up=turn.step > 0)
    turn.seconds = allowed if left is None else min(allowed, round(left))
    turn.save(update_fields=["seconds"])
    turn_asked(turn)
    return turn
