"""The Markdown of questions as their pages show it."""

from collections.abc import Collection, Iterator
from typing import Any

from django.db.models import QuerySet

from kb.text import LANGUAGES, Language, Text, pick
from quiz.grading import GAP
from quiz.models import Question

# The Markdown fields of a question that its answer page shows.
ANSWER_FIELDS = ("prompt", "short", "answer", "mistakes")
# What belongs to a question and has texts of its own.
PARTS = ("rubric", "choices")


def question_texts(question: Question, language: Language, parts: Collection[str] = PARTS) -> Iterator[str]:
    """Of the question itself and of these parts."""
    yield from (pick(question, field, language) for field in ANSWER_FIELDS)
    if "rubric" in parts:
        yield from (pick(point, "text", language) for point in question.rubric.all())
    if "choices" in parts:
        for choice in question.choices.all():
            yield from (pick(choice, "text", language), pick(choice, "feedback", language))
    yield from (Text(**step).in_language(language) for step in question.spec.get("steps", []))
    yield cloze_text(question.spec, language)


def cloze_text(spec: dict[str, Any], language: Language) -> str:
    """The cloze with numbered gaps; empty for a question of another kind."""
    return numbered_gaps(Text(**spec.get("cloze", {})).in_language(language))


def numbered_gaps(text: str) -> str:
    """`{{accepted}}` becomes **[ 1 ]** and so on."""
    count = iter(range(1, 1000))
    return GAP.sub(lambda _match: f"**[ {next(count)} ]**", text)


def all_texts(questions: QuerySet[Question]) -> Iterator[str]:
    """What can be rendered before somebody asks for it; drawn numbers are new each time."""
    for question in questions.prefetch_related(*PARTS):
        for language in LANGUAGES:
            yield from question_texts(question, language)
            yield pick(question, "when", language)
