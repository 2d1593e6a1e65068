"""Reads that pages share."""

from collections import defaultdict

from django.contrib.auth.models import User
from django.db.models import Count, Prefetch, QuerySet
from django.http import Http404

from kb.markup import Resolver
from kb.models import Status, Topic
from kb.text import active_language, pick
from quiz.models import Attempt, Question
from quiz.texts import parts_of, question_texts


def root_questions() -> QuerySet[Question]:
    """The questions that are no follow-ups."""
    return Question.objects.filter(parent=None, status=Status.PUBLISHED).select_related("topic")


def topics_with_questions() -> QuerySet[Topic]:
    """Topics that have questions, each with `root_questions` in order."""
    questions = root_questions().annotate(follow_up_count=Count("descendants")).order_by("position", "slug")
    prefetch = Prefetch("questions", queryset=questions, to_attr="root_questions")
    return Topic.objects.filter(questions__parent=None).distinct().prefetch_related(prefetch)


def question_by_slug(slug: str, *, with_drafts: bool = False) -> Question:
    """The question with what its pages show, or Http404; editors see it before it is published."""
    visible = [Status.PUBLISHED, Status.DRAFT, Status.REVIEW] if with_drafts else [Status.PUBLISHED]
    shown = ("rubric", "choices", "follow_ups", "points")
    found = Question.objects.select_related("topic", "parent", "root").prefetch_related(*shown)
    question = found.filter(slug=slug, status__in=visible).first()
    if question is None:
        raise Http404(f"No question {slug!r}")
    return question


def follow_up_tree(question: Question) -> list[Question]:
    """All follow-ups below a question, each before its own follow-ups, in the order of the interview."""
    children: dict[int | None, list[Question]] = defaultdict(list)
    for follow_up in question.descendants.all():
        children[follow_up.parent_id].append(follow_up)

    def below(parent_id: int) -> list[Question]:
        return [found for child in children[parent_id] for found in (child, *below(child.pk))]

    return below(question.pk)


def attempt_for_user(user: User, attempt_id: int) -> Attempt:
    """The user's own attempt, or Http404: others' attempts do not exist for them."""
    attempts = Attempt.objects.select_related("question__topic", "question__parent", "question__root", "after")
    shown = ("question__rubric", "question__choices", "question__follow_ups", "question__points")
    found = attempts.prefetch_related(*shown).filter(pk=attempt_id, owner=user.pk)
    attempt = found.first()
    if attempt is None:
        raise Http404(f"No attempt {attempt_id} of yours")
    return attempt


def resolver_for_question(question: Question) -> Resolver:
    """A resolver that knows all chips of the question, its rubric, choices and follow-ups' prompts."""
    resolver = Resolver(active_language())
    texts = list(question_texts(question, resolver.language, parts_of(question)))
    texts += [pick(child, field) for child in question.follow_ups.all() for field in ("prompt", "when")]
    resolver.prepare(texts)
    return resolver
