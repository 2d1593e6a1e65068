"""Reads of the interview."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean

from django.contrib.auth.models import User
from django.db.models import Prefetch, QuerySet
from django.http import Http404

from kb.markup import Resolver
from kb.text import active_language, pick
from quiz.interview.choice import Asked, Candidate
from quiz.interview.options import InterviewOptions
from quiz.models import Attempt, Question, Sitting, Turn
from quiz.queries import root_questions
from quiz.texts import ANSWER_FIELDS

# How many of the newest answers say which topics are weak.
RECENT_ANSWERS = 500


def interviews_of(user: User) -> QuerySet[Sitting]:
    """Newest first, each with its turns and their attempts."""
    turns = Turn.objects.select_related("attempt")
    found = Sitting.objects.filter(owner=user.pk, kind=Sitting.INTERVIEW)
    return found.prefetch_related(Prefetch("turns", queryset=turns))


def interview_for_user(user: User, sitting_id: int) -> Sitting:
    """The user's own interview, or Http404: others' interviews do not exist for them."""
    sitting = Sitting.objects.filter(pk=sitting_id, owner=user.pk, kind=Sitting.INTERVIEW).first()
    if sitting is None:
        raise Http404(f"No interview {sitting_id} of yours")
    return sitting


def turns_of(sitting: Sitting) -> QuerySet[Turn]:
    """Its turns in order, with all that pages show of them."""
    related = ("question__topic", "question__root", "question__parent", "attempt", "after__question")
    shown = ("rubric", "choices", "follow_ups", "points", "claims", "root__points")
    turns = Turn.objects.filter(sitting=sitting).select_related(*related)
    return turns.prefetch_related(*(f"question__{name}" for name in shown), "after__question__rubric")


def options_of(sitting: Sitting) -> InterviewOptions:
    return InterviewOptions.model_validate(sitting.options)


def candidates(user: User, options: InterviewOptions) -> list[Candidate]:
    """All questions that the interview may ask. Two queries."""
    questions = root_questions()
    if options.topics:
        questions = questions.filter(topic__slug__in=options.topics)
    seen = set(Attempt.objects.filter(owner=user.pk).values_list("question_id", flat=True))
    rows = questions.values_list("pk", "topic_id", "difficulty", "kind")
    return [Candidate(pk, topic, level, kind == Question.OPEN, pk in seen) for pk, topic, level, kind in rows]


def topic_mastery(user: User) -> dict[int, float]:
    """Mean score of the newest answers, by topic; topics without any are left out."""
    scores = Attempt.objects.filter(owner=user.pk, score__isnull=False)
    by_topic: dict[int, list[float]] = defaultdict(list)
    for topic, score in scores.values_list("question__topic_id", "score")[:RECENT_ANSWERS]:
        by_topic[topic].append(float(score or 0))
    return {topic: fmean(found) for topic, found in by_topic.items()}


def asked_questions(turns: Iterable[Turn]) -> list[Asked]:
    """The questions without their follow-ups."""
    roots = (turn for turn in turns if turn.step == 0)
    return [Asked(t.question_id, t.question.topic_id, t.attempt.score if t.attempt else None) for t in roots]


def resolver_for_turns(turns: Iterable[Turn]) -> Resolver:
    """A resolver that knows all chips of the turns' questions and rubrics."""
    resolver = Resolver(active_language())
    texts = []
    for question in (turn.question for turn in turns):
        texts += [pick(question, field) for field in ANSWER_FIELDS]
        texts += [pick(point, "text") for point in question.rubric.all()]
    resolver.prepare(texts)
    return resolver
