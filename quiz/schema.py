"""How questions look in content files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kb.schema import Slug, Source
from kb.text import Text

Kind = Literal["open"]
Dimension = Literal["concept", "mathematics", "engineering", "trade-offs", "evidence"]


class Terms(Source):
    """Words whose presence in a typed answer suggests that a rubric point was made."""

    en: list[str] = []
    zh: list[str] = []


class RubricSource(Source):
    """One key point of a good answer."""

    weight: Annotated[int, Field(ge=1, le=5)]
    dimension: Dimension
    text: Text
    terms: Terms = Terms()


class AnswerableSource(Source):
    """What a question and a follow-up have in common. Prompt, short, answer and mistakes are Markdown."""

    slug: Slug
    kind: Kind
    difficulty: Annotated[int, Field(ge=1, le=5)]
    covers: list[str] = []
    prompt: Text
    short: Text  # what to say in 30 seconds
    answer: Text  # the full answer
    rubric: Annotated[list[RubricSource], Field(min_length=2)]
    mistakes: list[Text] = []
    follow_ups: list[FollowUpSource] = []


class FollowUpSource(AnswerableSource):
    """A question that the interviewer asks next. `when` says what in the answer triggers it; empty: always."""

    when: Text = Text()


class QuestionSource(AnswerableSource):
    topic: Slug
    position: Annotated[int, Field(ge=0)]  # order inside the topic
    points: list[Slug] = []  # the knowledge points it rests on
