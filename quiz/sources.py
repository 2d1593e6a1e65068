"""Questions with their follow-ups: from content files to the database."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from django.db.models import ProtectedError, QuerySet

from kb.content.checks import Items, check_known
from kb.content.registry import ContentType, Problem
from kb.models import Point, Status, Topic
from kb.sources import ids_by_slug, text_columns, text_of, texts_of_row
from labs.models import Claim
from labs.sources import mentioned_claims
from quiz.drawing import combinations, compute, evaluate
from quiz.models import Choice, Question, RubricPoint
from quiz.schema import AnswerableSource, ChoiceSource, FollowUpSource, QuestionSource, RubricSource, Terms

SPEC_FIELDS = {"steps", "cloze", "draw", "let", "result", "value", "unit", "tolerance", "slips"}


def save_questions(sources: list[QuestionSource]) -> None:
    topics, points, claims = ids_by_slug(Topic), ids_by_slug(Point), ids_by_slug(Claim)
    for source in sources:
        values: dict[str, Any] = {
            "topic_id": topics[source.topic],
            "position": source.position,
            "status": source.status,
            "parent": None,
            "root": None,
        }
        question = _save_one(source, values, claims)
        question.points.set([points[slug] for slug in source.points])
        _save_follow_ups(source, question, root=question, claims=claims)
        _remove(question.descendants.exclude(slug__in=slugs_of(source)))


def remove_questions(slugs: list[str]) -> None:
    _remove(Question.objects.filter(slug__in=slugs))


def _remove(questions: QuerySet[Question]) -> None:
    """Delete what nobody answered; what somebody did answer is retired. Follow-ups go before what they follow."""
    for question in questions.order_by("-pk"):
        try:
            question.delete()
        except ProtectedError:
            Question.objects.filter(pk=question.pk).update(status=Status.RETIRED)


def _save_follow_ups(source: AnswerableSource, question: Question, *, root: Question, claims: dict[str, int]) -> None:
    for position, child in enumerate(source.follow_ups):
        values: dict[str, Any] = {"topic_id": root.topic_id, "position": position, "parent": question, "root": root}
        values |= text_columns(child, "when") | {"status": root.status}
        follow_up = _save_one(child, values, claims)
        _save_follow_ups(child, follow_up, root=root, claims=claims)


def _save_one(source: AnswerableSource, values: dict[str, Any], claims: dict[str, int]) -> Question:
    texts = text_columns(source, "prompt", "short", "answer")
    mistakes = [text.model_dump() for text in source.mistakes]
    values |= texts | {"kind": source.kind, "difficulty": source.difficulty, "covers": source.covers}
    values["mistakes"] = mistakes
    values["spec"] = source.model_dump(mode="json", include=SPEC_FIELDS, exclude_defaults=True)
    question, _ = Question.objects.update_or_create(slug=source.slug, defaults=values)
    question.claims.set(mentioned_claims([*texts.values(), *(t for m in mistakes for t in m.values())], claims))
    question.rubric.all().delete()
    RubricPoint.objects.bulk_create(
        [_rubric_point(question, position, point) for position, point in enumerate(source.rubric)]
    )
    question.choices.all().delete()
    Choice.objects.bulk_create([_choice(question, position, choice) for position, choice in enumerate(source.choices)])
    return question


def _choice(question: Question, position: int, source: ChoiceSource) -> Choice:
    columns = text_columns(source, "text", "feedback")
    return Choice(question=question, position=position, is_correct=source.is_correct, **columns)


def _rubric_point(question: Question, position: int, source: RubricSource) -> RubricPoint:
    return RubricPoint(
        question=question,
        position=position,
        weight=source.weight,
        dimension=source.dimension,
        terms_en=source.terms.en,
        terms_zh=source.terms.zh,
        **text_columns(source, "text"),
    )


def load_questions() -> list[QuestionSource]:
    """The trees of questions, from one query a table."""
    children: dict[int | None, list[Question]] = defaultdict(list)
    rows = (
        Question.objects.exclude(status=Status.RETIRED)
        .select_related("topic")
        .prefetch_related("rubric", "choices", "points")
    )
    for row in rows.order_by("position", "slug"):
        children[row.parent_id].append(row)
    return [
        QuestionSource(
            topic=row.topic.slug,
            position=row.position,
            status=row.status,
            points=[point.slug for point in row.points.all()],
            **_load_one(row, children),
        )
        for row in children[None]
    ]


def _load_one(row: Question, children: dict[int | None, list[Question]]) -> dict[str, Any]:
    return {
        "slug": row.slug,
        "kind": row.kind,
        "difficulty": row.difficulty,
        "covers": row.covers,
        "mistakes": row.mistakes,
        "rubric": [_load_rubric_point(point) for point in row.rubric.all()],
        "choices": [_load_choice(choice) for choice in row.choices.all()],
        "follow_ups": [
            FollowUpSource(when=text_of(child, "when"), **_load_one(child, children)) for child in children[row.pk]
        ],
        **texts_of_row(row, "prompt", "short", "answer"),
        **row.spec,
    }


def _load_choice(choice: Choice) -> ChoiceSource:
    return ChoiceSource(is_correct=choice.is_correct, **texts_of_row(choice, "text", "feedback"))


def _load_rubric_point(point: RubricPoint) -> RubricSource:
    terms = Terms(en=point.terms_en, zh=point.terms_zh)
    return RubricSource(
        weight=point.weight,
        dimension=point.dimension,
        text=text_of(point, "text"),
        terms=terms,
    )


def slugs_of(source: AnswerableSource) -> list[str]:
    """The slug of a question and those of all its follow-ups."""
    return [answerable.slug for answerable in _walk(source)]


def check_questions(items: Items) -> Iterator[Problem]:
    counts = Counter(slug for item in items["questions"] for slug in slugs_of(item.source))
    for item in items["questions"]:
        yield from check_known(items, item, "topic", item.source.topic, "topic")
        for slug in item.source.points:
            yield from check_known(items, item, "points", slug, "point")
        for slug in slugs_of(item.source):
            if counts[slug] > 1:
                yield Problem(item.file, item.line, "duplicate", f"the slug {slug!r} is used {counts[slug]} times")
        for source in _walk(item.source):
            if message := formula_problem(source):
                yield Problem(item.file, item.line, "dead-formula", f"{source.slug}: {message}")


def _walk(source: AnswerableSource) -> Iterator[AnswerableSource]:
    """A question and all its follow-ups."""
    yield source
    for child in source.follow_ups:
        yield from _walk(child)


def formula_problem(source: AnswerableSource) -> str:
    """Why a computed answer cannot be had for some draw, or an empty string."""
    if source.result is None:
        return ""
    spec = source.model_dump(mode="json", include=SPEC_FIELDS)
    for values in combinations(spec):
        try:
            drawn = compute(spec, values)
            found = [drawn.result, *(evaluate(slip, drawn.values) for slip in spec["slips"])]
        except (KeyError, TypeError, ValueError, ArithmeticError) as e:
            return f"{type(e).__name__} with {values}: {e}"
        if not all(math.isfinite(value) for value in found):
            return f"the result with {values} is not finite"
    return ""


CONTENT_TYPES = [
    ContentType(
        "questions",
        QuestionSource,
        save_questions,
        load_questions,
        remove_questions,
        folder="questions",
        path=lambda source: f"questions/{source.topic}/{source.slug}.yaml",
        check=check_questions,
        inline="question",
        keys=slugs_of,
        prose=frozenset({"short", "answer", "rubric", "mistakes"}),
        order=50,
    ),
]
