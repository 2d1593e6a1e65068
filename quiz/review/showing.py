"""A card as the review shows it: front, back, and the four buttons with the interval that each leads to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import prefetch_related_objects

from kb.markup import Resolver
from kb.models import Point
from kb.rows import read
from kb.text import active_language
from quiz.asking import Asked, Assessment, ask, assess
from quiz.forms import AnswerForm, answer_form
from quiz.models import Attempt, Card, Question, RubricPoint, Scheduling
from quiz.review.scheduling import RATINGS, preview
from quiz.review.states import CardState
from quiz.texts import asked_texts, question_texts

RUBRIC = "WHERE question_id = %s ORDER BY position"
POINTS = """
    JOIN quiz_question_points link ON link.point_id = kb_point.id JOIN kb_topic topic ON topic.id = kb_point.topic_id
    WHERE link.question_id = %s ORDER BY topic.position, kb_point.position, kb_point.slug
"""
POINT_COLUMNS = ("id", "slug", "title_en", "title_zh")

GRADED_BY_CHOICE = (Question.SINGLE, Question.MULTI)

# From this score on an answer that is not all right suggests "hard" instead of "again".
HALF_RIGHT = 0.5


@dataclass(frozen=True)
class Button:
    """One rating, when the card would come back, and whether the machine's score suggests it."""

    rating: int
    due: datetime
    is_suggested: bool


@dataclass(frozen=True)
class Shown:
    """A card on the screen. Of a graded kind `form` is there before the answer and `attempt` after it."""

    card: Card
    token: str
    asked: Asked | None = None
    form: AnswerForm | None = None
    attempt: Attempt | None = None
    assessment: Assessment | None = None
    rubric: Sequence[RubricPoint] = ()
    points: Sequence[Point] = ()  # with slug and title alone

    @property
    def question(self) -> Question | None:
        """With the drawn numbers in its texts."""
        return self.asked.question if self.asked else None

    @property
    def seen(self) -> str:
        return CardState.of(self.card).digest()

    def suggested(self) -> int | None:
        if self.assessment is None:
            return None
        return 3 if self.assessment.score == 1 else 2 if self.assessment.score >= HALF_RIGHT else 1

    def buttons(self, scheduling: Scheduling, now: datetime) -> list[Button]:
        due = preview(self.card, scheduling, now, UUID(self.token))
        return [Button(rating, due[rating], rating == self.suggested()) for rating in RATINGS]

    def resolver(self) -> Resolver:
        """Knows all chips of the card, one query a kind."""
        resolver = Resolver(active_language())
        if self.question:
            choices = self.question.choices.all() if self.question.kind in GRADED_BY_CHOICE else []
            texts = asked_texts if self.form else question_texts
            resolver.prepare(texts(self.question, resolver.language, [*self.rubric, *choices]))
        return resolver

    def context(self) -> dict[str, Any]:
        """What templates of the quiz call these things."""
        names = ("card", "question", "form", "asked", "attempt", "assessment", "rubric", "points")
        return {name: getattr(self, name) for name in names} | {"resolver": self.resolver()}


def _read_choices(question: Question) -> None:
    if question.kind in GRADED_BY_CHOICE:
        prefetch_related_objects([question], "choices")


def _back(question: Question) -> dict[str, Any]:
    """What the back shows of a question besides its own texts."""
    rubric = read(RubricPoint, RUBRIC, [question.pk]) if question.kind == Question.OPEN else []
    return {"rubric": rubric, "points": read(Point, POINTS, [question.pk], only=POINT_COLUMNS)}


def show(card: Card, token: str, *, data: object = None) -> Shown:
    """A card to be answered; a parametric question draws its numbers by the token. Of an open one the back is there."""
    if card.question is None:
        return Shown(card, token)
    _read_choices(card.question)
    asked = ask(card.question, token)
    if card.question.kind == Question.OPEN:
        return Shown(card, token, asked, **_back(card.question))
    return Shown(card, token, asked, answer_form(asked, data))


def show_answered(card: Card, attempt: Attempt) -> Shown:
    """The back of a card of a graded kind, beside what was answered."""
    question = attempt.question
    _read_choices(question)
    asked = ask(question, str(attempt.token), attempt.drawn)
    assessment = assess(asked, attempt.given)
    return Shown(card, str(attempt.token), asked, None, attempt, assessment, **_back(question))
