"""Writes of the quiz: one function an action, each one transaction."""

from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from quiz.asking import ask, assess
from quiz.grading import rubric_score
from quiz.models import Attempt, Card, Question
from quiz.review.queries import is_asked_today
from quiz.review.services import card_grade, cards_sync, study_settings

# Characters of a typed answer; a long spoken answer has about 3,000.
MAX_TYPED = 20_000


class AlreadyGraded(RuntimeError):
    """The attempt has a grade, and a log is not rewritten."""


class NotYourAttempt(ValueError):
    """The token belongs to somebody else's attempt, or to another question."""


def attempt_start(
    *, user: User, question: Question, token: UUID, typed: str = "", given: Any = None, after: Attempt | None = None
) -> Attempt:
    """Keep the answer before the model answer is shown, with its score where a machine can tell.

    The same token gives the same attempt. ValueError for an answer that cannot be read.
    """
    asked = ask(question, str(token))
    assessment = assess(asked, given)
    values = {
        "owner": user,
        "question": question,
        "typed": typed,
        "given": given,
        "drawn": {name: asked.drawn.values[name] for name in question.spec["draw"]} if asked.drawn else {},
        "score": assessment.score if assessment else None,
        "after": after,
    }
    attempt, _ = Attempt.objects.get_or_create(token=token, defaults=values)
    if attempt.owner_id != user.pk or attempt.question_id != question.pk:
        raise NotYourAttempt("This form belongs to another attempt; load the question again.")
    return attempt


@transaction.atomic
def attempt_grade(*, attempt: Attempt, made: list[int], grade: int) -> Attempt:
    """Store the made rubric points and the grade. Sent twice it counts once; another grade raises AlreadyGraded.

    It is a review of the question's card too when that is new or due today; else the schedule stays as it is.
    ValueError names a grade or a rubric point that does not exist.
    """
    if grade not in dict(Attempt.GRADES):
        raise ValueError(f"Invalid grade {grade}; allowed: 1 (again), 2 (hard), 3 (good), 4 (easy)")
    values: dict[str, Any] = {"grade": grade, "made_points": sorted(set(made))}
    if attempt.question.kind == Question.OPEN:
        weights = dict(attempt.question.rubric.values_list("position", "weight"))
        values["score"] = rubric_score(weights, made)
    graded = Attempt.objects.filter(pk=attempt.pk, grade=None).update(**values, graded_at=timezone.now())
    attempt.refresh_from_db()
    if not graded and (attempt.grade, attempt.made_points) != (grade, values["made_points"]):
        raise AlreadyGraded("This attempt has a grade already. Try the question again to get a new one.")
    if graded:
        _review(attempt, grade)
    return attempt


def _review(attempt: Attempt, grade: int) -> None:
    cards = Card.objects.filter(owner=attempt.owner_id, question=attempt.question_id)
    # A learner who has never opened the review has no cards yet; one who left the topic out gets none.
    card = cards.first() or (cards.first() if cards_sync(attempt.owner) else None)
    if card and is_asked_today(card, timezone.now(), study_settings(attempt.owner)):
        card_grade(card=card, rating=grade, token=attempt.token, milliseconds=attempt.milliseconds, attempt=attempt)
