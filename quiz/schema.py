"""How questions look in content files."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kb.schema import EditorialStatus, Slug, SlugSet, Source
from kb.text import Text

Kind = Literal["open", "single", "multi", "numeric", "parametric", "order", "cloze"]
Dimension = Literal["concept", "mathematics", "engineering", "trade-offs", "evidence"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]


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


class ChoiceSource(Source):
    """An option of a single- or multiple-choice question. A wrong one is a real misconception; feedback says why."""

    text: Text
    is_correct: bool = False
    feedback: Text


class ValueSource(Source):
    """A number that a function of labs.formulas computes; in arguments `<<name>>` stands for a drawn value."""

    formula: str
    arguments: dict[str, Any] = {}


class SlipSource(ValueSource):
    """A typical wrong result, and what to tell who gives it."""

    feedback: Text


class AnswerableSource(Source):
    """What a question and a follow-up have in common. All texts are Markdown.

    `open` has a 30-second answer and a rubric. The other kinds are graded by the machine:
    `single`, `multi`: choices. `order`: steps, in the right order. `cloze`: a text with `{{accepted|also right}}` gaps.
    `numeric`: result (computed) or value (from a cited claim), unit, tolerance (relative).
    `parametric`: draw lists the values to draw from, let names intermediate results, then result, unit, tolerance;
    `<<name>>` in prompt and answer shows a drawn value, an intermediate result or `<<result>>`.
    """

    slug: Slug
    kind: Kind
    difficulty: Annotated[int, Field(ge=1, le=5)]
    covers: list[str] = []
    prompt: Text
    short: Text = Text()  # what to say in 30 seconds
    answer: Text  # the full answer; for the graded kinds the explanation or worked solution
    rubric: list[RubricSource] = []
    choices: list[ChoiceSource] = []
    steps: list[Text] = []
    cloze: Text = Text()
    draw: dict[Name, Annotated[list[int | float | str], Field(min_length=2)]] = {}
    let: dict[Name, ValueSource] = {}
    result: ValueSource | None = None
    value: float | None = None
    unit: str = ""
    tolerance: Annotated[float, Field(ge=0, le=0.2)] = 0.01
    slips: list[SlipSource] = []
    mistakes: list[Text] = []
    follow_ups: list[FollowUpSource] = []

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        has = {
            "rubric": len(self.rubric) >= 2,
            "short": bool(self.short.en or self.short.zh),
            "choices": len(self.choices) >= 3,
            "steps": len(self.steps) >= 3,
            "cloze": "{{" in self.cloze.en,
            "draw": bool(self.draw),
            "result": self.result is not None,
            "value": self.value is not None,
        }
        missing = [name for name in NEEDED[self.kind] if not has[name]]
        if self.kind == "numeric" and has["result"] == has["value"]:
            raise ValueError("a numeric question needs either result (a formula) or value, and not both")
        if missing:
            raise ValueError(f"a question of kind {self.kind} needs {' and '.join(missing)}")
        odd = [name for name in ("rubric", "choices", "steps", "cloze", "draw") if has[name]]
        if unwanted := [name for name in odd if name not in NEEDED[self.kind]]:
            raise ValueError(f"a question of kind {self.kind} has no {' or '.join(unwanted)}")
        return self

    @model_validator(mode="after")
    def _has_a_right_choice(self) -> Self:
        right = sum(choice.is_correct for choice in self.choices)
        if self.kind == "single" and right != 1:
            raise ValueError(f"a single-choice question has exactly one correct choice (found {right})")
        if self.kind == "multi" and not 0 < right < len(self.choices):
            raise ValueError(f"a multiple-choice question has correct and wrong choices (found {right} correct)")
        return self


# What a kind cannot do without.
NEEDED: dict[str, tuple[str, ...]] = {
    "open": ("short", "rubric"),
    "single": ("choices",),
    "multi": ("choices",),
    "numeric": (),
    "parametric": ("draw", "result"),
    "order": ("steps",),
    "cloze": ("cloze",),
}


class FollowUpSource(AnswerableSource):
    """A question that the interviewer asks next. `when` says what in the answer triggers it; empty: always."""

    when: Text = Text()


class QuestionSource(AnswerableSource):
    topic: Slug
    position: Annotated[int, Field(ge=0)]  # order inside the topic
    points: SlugSet = []  # the knowledge points it rests on
    status: EditorialStatus = "published"
