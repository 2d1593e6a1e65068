"""Questions with their follow-ups: from content files to the database."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import ProtectedError, QuerySet

from kb.content.checks import Finding, Items, Known, check_known
from kb.content.registry import ContentType, Problem
from kb.editing.checks import ItemRefused
from kb.models import Point, Status, Topic
from kb.sources import ids_by_slug, text_columns, text_of, texts_of_row
from kb.text import LANGUAGES
from labs.sources import link_mentions
from quiz.drawing import combinations, compute, evaluate
from quiz.models import Choice, Question, RubricPoint
from quiz.schema import AnswerableSource, ChoiceSource, FollowUpSource, QuestionSource, RubricSource, Terms

TEXTS = ("prompt", "short", "answer")
SPEC_FIELDS = {"steps", "cloze", "draw", "let", "result", "value", "unit", "tolerance", "slips"}


def save_questions(sources: list[QuestionSource]) -> None:
    saver = _Saver(Question.objects.in_bulk(field_name="slug"))
    for source in sources:
        question = saver.save(source, None)
        _save_follow_ups(saver, source, question)
        _remove(question.descendants.exclude(slug__in=slugs_of(source)))


class _Saver:
    """Writes questions and follow-ups one by one, knowing every row that they may refer to."""

    def __init__(self, rows: dict[str, Question]) -> None:
        self.topics, self.points = ids_by_slug(Topic), ids_by_slug(Point)
        self.rows = rows

    def save(self, source: AnswerableSource, parent: Question | None, position: int = 0) -> Question:
        """The row of a question or, with a parent, of a follow-up."""
        row = self.rows.get(source.slug) or Question(slug=source.slug)
        root = (parent.root or parent) if parent else None
        if root:
            row.topic_id, row.status, row.position = root.topic_id, root.status, position
        row.parent, row.root = parent, root
        self.apply(row, source)
        return row

    def apply(self, row: Question, source: AnswerableSource) -> None:
        """Write what the source says of the question itself; its place in a tree stays."""
        for name, value in self._columns(source).items():
            setattr(row, name, value)
        row.save()
        _replace(row, source)
        if isinstance(source, QuestionSource):
            row.points.set([self.points[slug] for slug in source.points])

    def _columns(self, source: AnswerableSource) -> dict[str, Any]:
        values: dict[str, Any] = text_columns(source, *TEXTS)
        values |= {"kind": source.kind, "difficulty": source.difficulty, "covers": source.covers}
        values["mistakes"] = [text.model_dump() for text in source.mistakes]
        values["spec"] = source.model_dump(mode="json", include=SPEC_FIELDS, exclude_defaults=True)
        if isinstance(source, QuestionSource):
            own = {"topic_id": self.topics[source.topic], "position": source.position, "status": source.status}
            return values | own
        return values | (text_columns(source, "when") if isinstance(source, FollowUpSource) else {})


def apply_question(row: Question, source: AnswerableSource) -> None:
    """Write an edited question or follow-up back to its row."""
    _Saver({}).apply(row, source)
    row.descendants.update(status=row.status, topic=row.topic_id)


def link_questions(questions: Iterable[Question] | None = None) -> None:
    """Remember which questions show which claims, so that a claim's page can list them."""
    fields = [f"{name}_{language}" for name in TEXTS for language in LANGUAGES]
    texts = {
        question.pk: [
            *(getattr(question, field) for field in fields),
            *(text for mistake in question.mistakes for text in mistake.values()),
        ]
        for question in (Question.objects.all() if questions is None else questions)
    }
    link_mentions(Question.claims.through, "question", texts)


def _replace(row: Question, source: AnswerableSource) -> None:
    """Rubric and choices anew: what learners answered refers to their positions."""
    row.rubric.all().delete()
    RubricPoint.objects.bulk_create([_rubric_point(row, n, point) for n, point in enumerate(source.rubric)])
    row.choices.all().delete()
    Choice.objects.bulk_create([_choice(row, n, choice) for n, choice in enumerate(source.choices)])


def remove_questions(slugs: list[str]) -> None:
    _remove(Question.objects.filter(slug__in=slugs))


def _remove(questions: QuerySet[Question]) -> None:
    """Delete what nobody answered; what somebody did answer is retired. Follow-ups go before what they follow."""
    for question in questions.order_by("-pk"):
        try:
            question.delete()
        except ProtectedError:
            Question.objects.filter(pk=question.pk).update(status=Status.RETIRED)


def _save_follow_ups(saver: _Saver, source: AnswerableSource, question: Question) -> None:
    for position, child in enumerate(source.follow_ups):
        _save_follow_ups(saver, child, saver.save(child, question, position))


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
    for row in stored_questions().order_by("position", "slug"):
        children[row.parent_id].append(row)
    return [_with_follow_ups(row, children) for row in children[None]]


def stored_questions() -> QuerySet[Question]:
    """Questions and follow-ups with all that `question_source` asks for."""
    rows = Question.objects.exclude(status=Status.RETIRED).select_related("topic")
    return rows.prefetch_related("rubric", "choices", "points")


def rows_in_trees() -> list[Question]:
    """Every question, each followed by its follow-ups."""
    rows = list(stored_questions().select_related("topic", "parent").order_by("topic__position", "position", "slug"))
    children: dict[int | None, list[Question]] = defaultdict(list)
    for row in rows:
        children[row.parent_id].append(row)

    def below(parent_id: int | None) -> list[Question]:
        return [found for row in children[parent_id] for found in (row, *below(row.pk))]

    return below(None)


def new_question(slug: str, values: dict[str, Any]) -> Question:
    """A row that is not saved yet, below its parent if it names one."""
    if not values.get("parent"):
        return Question(slug=slug, topic=Topic.objects.filter(slug=str(values.get("topic", ""))).first())
    parent = Question.objects.select_related("root", "topic").filter(slug=str(values["parent"])).first()
    if parent is None:
        raise ItemRefused([Finding("parent", "parent", f"there is no question {values['parent']!r}")])
    return below_parent(Question(slug=slug), parent)


def below_parent(row: Question, parent: Question) -> Question:
    """The row as the last follow-up of a question."""
    root = parent.root or parent
    row.parent, row.root, row.topic, row.status = parent, root, root.topic, root.status
    row.position = parent.follow_ups.count()
    return row


def _with_follow_ups(row: Question, children: dict[int | None, list[Question]]) -> Any:
    below = [_with_follow_ups(child, children) for child in children[row.pk]]
    return question_source(row, follow_ups=below)


def question_source(
    row: Question,
    *,
    rubric: Iterable[RubricPoint] | None = None,
    choices: Iterable[Choice] | None = None,
    points: Iterable[Point] | None = None,
    follow_ups: Iterable[FollowUpSource] = (),
) -> QuestionSource | FollowUpSource:
    """What the row of a question or a follow-up holds; the lists are those of an edit that is not saved yet."""
    values = {
        **{name: getattr(row, name) for name in ("slug", "kind", "difficulty", "covers", "mistakes")},
        "rubric": [_load_rubric_point(point) for point in (row.rubric.all() if rubric is None else rubric)],
        "choices": [_load_choice(choice) for choice in (row.choices.all() if choices is None else choices)],
        "follow_ups": list(follow_ups),
        **texts_of_row(row, *TEXTS),
        **row.spec,
    }
    if row.parent_id:
        return FollowUpSource(when=text_of(row, "when"), **values)
    slugs = [point.slug for point in (row.points.all() if points is None else points)]
    return QuestionSource(topic=row.topic.slug, position=row.position, status=row.status, points=slugs, **values)


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


def check_question(source: AnswerableSource, known: Known) -> Iterator[Finding]:
    """A question with its follow-ups, or a follow-up alone."""
    if isinstance(source, QuestionSource):
        yield from check_known(known, "topic", source.topic, "topic")
        for slug in source.points:
            yield from check_known(known, "points", slug, "point")
    for answerable in _walk(source):
        if message := formula_problem(answerable):
            yield Finding("dead-formula", answerable.slug, message)


def check_questions(items: Items) -> Iterator[Problem]:
    counts = Counter(slug for item in items["questions"] for slug in slugs_of(item.source))
    for item in items["questions"]:
        for slug in slugs_of(item.source):
            if counts[slug] > 1:
                yield Problem(item.file, item.line, "duplicate", f"the slug {slug!r} is used {counts[slug]} times")


def parts_of(source: AnswerableSource) -> list[AnswerableSource]:
    """A question and each of its follow-ups without what follows on them: what is edited by itself."""
    return [answerable.model_copy(update={"follow_ups": []}) for answerable in _walk(source)]


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
        model=Question,
        source_of=question_source,
        apply=apply_question,
        schema_of=lambda row: FollowUpSource if row.parent_id else QuestionSource,
        schemas=(QuestionSource, FollowUpSource),
        has_tree=True,
        rows=rows_in_trees,
        new_row=new_question,
        parts=parts_of,
        folder="questions",
        path=lambda source: f"questions/{source.topic}/{source.slug}.yaml",
        check_one=check_question,
        check=check_questions,
        keys=slugs_of,
        prose=frozenset({"short", "answer", "rubric", "mistakes"}),
        order=50,
    ),
]
