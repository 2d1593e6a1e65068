"""The Markdown of questions as their pages show it."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import QuerySet

from kb.text import LANGUAGES, Language, Text, pick
from quiz.grading import GAP
from quiz.models import Choice, Question, RubricPoint

# The Markdown fields of a question that its answer page shows.
ANSWER_FIELDS = ("prompt", "short", "answer", "mistakes")

Parts = Sequence[RubricPoint | Choice]


def asked_texts(question: Question, language: Language, parts: Parts) -> Iterator[str]:
    """What a graded kind shows before the answer."""
    yield pick(question, "prompt", language)
    yield from (pick(part, "text", language) for part in parts)
    yield from (Text(**step).in_language(language) for step in question.spec.get("steps", []))
    yield cloze_text(question.spec, language)


def question_texts(question: Question, language: Language, parts: Parts) -> Iterator[str]:
    """Of the question itself and of these parts of it."""
    yield from asked_texts(question, language, parts)
    yield from (pick(question, field, language) for field in ANSWER_FIELDS)
    yield from (pick(part, "feedback", language) for part in parts if isinstance(part, Choice))


def parts_of(question: Question) -> list[RubricPoint | Choice]:
    """Of any kind."""
    return [*question.rubric.all(), *question.choices.all()]


def cloze_text(spec: dict[str, Any], language: Language) -> str:
    """The cloze with numbered gaps; empty for a question of another kind."""
    return numbered_gaps(Text(**spec.get("cloze", {})).in_language(language))


def numbered_gaps(text: str) -> str:
    """`{{accepted}}` becomes **[ 1 ]** and so on."""
    count = iter(range(1, 1000))
    return GAP.sub(lambda _match: f"**[ {next(count)} ]**", text)


def all_texts(questions: QuerySet[Question]) -> Iterator[str]:
    """What can be rendered before somebody asks for it; drawn numbers are new each time."""
    for question in questions.prefetch_related("rubric", "choices"):
        for language in LANGUAGES:
            yield from question_texts(question, language, parts_of(question))
            yield pick(question, "when", language)
