"""A learner in an interview, and what the tests send."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from quiz.interview.options import InterviewOptions
from quiz.interview.services import interview_start
from quiz.models import Sitting, Turn
from tests.builders import make_follow_up, make_question


@pytest.fixture
def bank(db):
    """Six open questions of level 3, each with a follow-up that has one of its own."""
    questions = [make_question(difficulty=3) for _ in range(6)]
    for question in questions:
        make_follow_up(make_follow_up(question, difficulty=3), difficulty=4)
    return questions


@pytest.fixture
def start(alice, bank) -> Callable[..., Sitting]:
    def start(**options) -> Sitting:
        values = {"questions": 2, **options} if "minutes" not in options else options
        return interview_start(user=alice, options=InterviewOptions(**values), token=uuid4())

    return start


def current(sitting: Sitting) -> Turn:
    return sitting.turns.last()


def send_answer(client, turn: Turn, typed: str = "", **fields):
    url = f"/interviews/{turn.sitting_id}/turns/{turn.pk}/answer/"
    return client.post(url, {"token": turn.token, "typed": typed, **fields})


def send_marks(client, turn: Turn, *made: int):
    return client.post(f"/interviews/{turn.sitting_id}/turns/{turn.pk}/mark/", {"made": made})
