"""Putting a question to somebody and judging what comes back, for each kind.

Everything that differs from attempt to attempt (drawn numbers, the order of options) follows from the attempt's token,
so that the form, its grading and the page afterwards agree.
"""

import copy
import random
from dataclasses import dataclass, field
from typing import Any

from kb.text import LANGUAGES, Text, active_language
from quiz.drawing import Drawn, compute, draw, evaluate, fill
from quiz.grading import choice_score, cloze_score, gaps, is_right_gap, number_score, order_score, parse_quantity
from quiz.models import Choice, Question

FILLED = ("prompt", "short", "answer")


@dataclass(frozen=True)
class Asked:
    """A question as one attempt sees it. `question` has the drawn numbers in its texts."""

    question: Question
    token: str
    drawn: Drawn | None = None

    def choices(self) -> list[Choice]:
        return self._shuffled(list(self.question.choices.all()))

    def ordered_steps(self) -> list[Text]:
        """In the right order."""
        return [Text(**step) for step in self.question.spec["steps"]]

    def steps(self) -> list[tuple[int, Text]]:
        """(position in the right order, text), shuffled."""
        return self._shuffled(list(enumerate(self.ordered_steps())))

    def unit(self) -> str:
        return str(self.question.spec.get("unit", ""))

    def result(self) -> float:
        """What a numeric or parametric question expects."""
        if self.drawn:
            return self.drawn.result
        spec = self.question.spec
        return evaluate(spec["result"], {}) if "result" in spec else float(spec["value"])

    def _shuffled(self, items: list[Any]) -> list[Any]:
        random.Random(self.token).shuffle(items)  # noqa: S311 (the order of options)
        return items


def ask(question: Question, token: str, values: dict[str, Any] | None = None) -> Asked:
    """The question for one attempt; `values` are numbers that were drawn before and stay as they were."""
    if question.kind != Question.PARAMETRIC:
        return Asked(question, token)
    drawn = compute(question.spec, values) if values else draw(question.spec, token)
    return Asked(_filled(question, drawn), token, drawn)


def _filled(question: Question, drawn: Drawn) -> Question:
    """A copy, never to be saved, whose texts show the drawn numbers."""
    shown = copy.copy(question)
    for name in (f"{text}_{language}" for text in FILLED for language in LANGUAGES):
        setattr(shown, name, fill(getattr(question, name), drawn.values))
    return shown


@dataclass(frozen=True)
class Gap:
    """One gap of a cloze as it was filled."""

    given: str
    accepted: str
    is_right: bool


@dataclass(frozen=True)
class Assessment:
    """What the machine makes of an answer: a share of full marks, and what there is to say about it."""

    score: float
    feedback: list[Text] = field(default_factory=list)
    steps: list[Text] = field(default_factory=list)  # as they were ordered
    gaps: list[Gap] = field(default_factory=list)


def assess(asked: Asked, given: Any) -> Assessment | None:
    """None for open questions: the learner judges those. ValueError for an answer that cannot be read."""
    match asked.question.kind:
        case Question.SINGLE | Question.MULTI:
            return _assess_choices(asked, given)
        case Question.NUMERIC | Question.PARAMETRIC:
            return _assess_number(asked, given)
        case Question.ORDER:
            steps = asked.ordered_steps()
            return Assessment(order_score(given), steps=[steps[position] for position in given])
        case Question.CLOZE:
            accepted = accepted_gaps(asked.question)
            filled = [Gap(t, a[0], is_right_gap(a, t)) for a, t in zip(accepted, given, strict=True)]
            return Assessment(cloze_score(accepted, given), gaps=filled)
    return None


def accepted_gaps(question: Question) -> list[list[str]]:
    """What fits into each gap, the reader's language first; both count, since a learner may type either."""
    languages = sorted(LANGUAGES, key=lambda language: language != active_language())
    texts = [question.spec["cloze"].get(language, "") for language in languages]
    both = [gaps(text) for text in texts if text]
    if len(both) == 2 and len(both[0]) == len(both[1]):
        return [first + second for first, second in zip(*both, strict=True)]
    return both[0]


def _assess_choices(asked: Asked, given: list[int]) -> Assessment:
    choices = {choice.position: choice for choice in asked.question.choices.all()}
    if unknown := set(given) - choices.keys():
        raise ValueError(f"Invalid choices {sorted(unknown)}; allowed: {sorted(choices)}")
    right = [position for position, choice in choices.items() if choice.is_correct]
    return Assessment(choice_score(right, given, len(choices)))


def _assess_number(asked: Asked, given: str) -> Assessment:
    number = parse_quantity(given, asked.unit())
    tolerance = float(asked.question.spec.get("tolerance", 0.01))
    score = number_score(asked.result(), number, tolerance)
    if score:
        return Assessment(score)
    values = asked.drawn.values if asked.drawn else {}
    slips = asked.question.spec.get("slips", [])
    made = [slip for slip in slips if number_score(evaluate(slip, values), number, tolerance)]
    return Assessment(score, [Text(**slip["feedback"]) for slip in made])
