"""The task that asks the operator's grader for advice on one answer."""

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings

from labs.broker import app
from quiz.interview import grader

# Above the grader's own limit, for a server that keeps a connection busy without getting anywhere.
GRACE_SECONDS = 10


@app.task(name=grader.GRADE_ANSWER, soft_time_limit=settings.GRADER_TIMEOUT + GRACE_SECONDS)
def grade_answer(turn_id: int) -> None:
    try:
        grader.grade_turn(turn_id)
    except SoftTimeLimitExceeded:
        grader.turn_without_advice(turn_id, "slow")
