"""What a mistake is: a question whose last answer was wrong, below PASSED of full marks or graded “again”.

Quizzes and decks of "my mistakes" both choose by it. Answers of which it is not known how they went do not count.
"""

from django.contrib.auth.models import User
from django.db.models import OuterRef, Q, QuerySet, Subquery

from quiz.models import Attempt, Question

PASSED = 0.6
# Of attempts.
IS_WRONG = Q(score__lt=PASSED) | Q(grade=1)


def judged_attempts(user: User) -> QuerySet[Attempt]:
    """Those of which it is known how they went."""
    return Attempt.objects.filter(Q(score__isnull=False) | Q(grade__isnull=False), owner=user.pk)


def with_last_answer(questions: QuerySet[Question], user: User) -> QuerySet[Question]:
    """The questions with `last_score` and `last_grade`."""
    last = judged_attempts(user).filter(question=OuterRef("pk")).order_by("-pk")
    return questions.annotate(
        last_score=Subquery(last.values("score")[:1]), last_grade=Subquery(last.values("grade")[:1])
    )


def mistakes(questions: QuerySet[Question], user: User) -> QuerySet[Question]:
    """Those whose last answer was wrong."""
    return with_last_answer(questions, user).filter(Q(last_score__lt=PASSED) | Q(last_grade=1))
