"""Which questions a quiz is built from."""

import random

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from kb.models import Status
from kb.search import search
from kb.text import LANGUAGES, Language
from quiz.mistakes import IS_WRONG, judged_attempts, mistakes, with_last_answer
from quiz.models import Card, Question
from quiz.review.days import tomorrow_start
from quiz.review.services import study_settings
from quiz.sittings.options import QuizOptions

# Below so much of full marks a question is still weak.
STRONG = 0.8
# Documents of a search that are looked at.
MAX_HITS = 300


def questions_matching(user: User, options: QuizOptions, language: Language) -> QuerySet[Question]:
    """All questions that fit. Follow-ups are among them where their own answers count (weak, due, wrong, mistakes)."""
    questions = Question.objects.filter(status=Status.PUBLISHED)
    if options.questions:
        return questions.filter(slug__in=options.questions)
    questions = questions.filter(difficulty__range=(options.easiest, options.hardest))
    if not (options.mistakes or set(options.states) - {"new"}):
        questions = questions.filter(parent=None)
    if options.topics:
        questions = questions.filter(topic__slug__in=options.topics)
    if options.kinds:
        questions = questions.filter(kind__in=options.kinds)
    if options.search:
        questions = questions.filter(_found(options.search, language))
    return _in_state(questions, user, options)


def draw_questions(user: User, options: QuizOptions, language: Language, seed: str) -> list[Question]:
    """As many of them as the quiz has, at random; the same seed draws the same."""
    ids = list(questions_matching(user, options, language).order_by("pk").values_list("pk", flat=True))
    chosen = random.Random(seed).sample(ids, min(options.count, len(ids)))  # noqa: S311 (which questions to ask)
    found = Question.objects.in_bulk(chosen)
    return [found[pk] for pk in chosen]


def _found(query: str, language: Language) -> Q:
    """What a search finds in either language; a follow-up that is found counts for its question too."""
    others = [other for other in LANGUAGES if other != language]
    hits = [hit.slug for one in (language, *others) for hit in search(query, one, limit=MAX_HITS, kind="question")]
    return Q(slug__in=hits) | Q(descendants__slug__in=hits, parent=None)


def _in_state(questions: QuerySet[Question], user: User, options: QuizOptions) -> QuerySet[Question]:
    if options.mistakes:
        questions = mistakes(questions, user)
    if options.states:
        questions = with_last_answer(questions, user)
        attempts = judged_attempts(user).filter(question=OuterRef("pk"))
        cards = Card.objects.filter(owner=user.pk, question=OuterRef("pk"), is_suspended=False)
        conditions = {
            "new": ~Exists(attempts) & ~Exists(cards.exclude(state=Card.NEW)),
            "weak": Q(last_score__lt=STRONG) | Q(last_grade__lte=2) | Exists(cards.filter(state=Card.RELEARNING)),
            "due": Exists(_due(cards, user)),
            "wrong": Exists(attempts.filter(IS_WRONG)),
        }
        any_of = Q()
        for state in options.states:
            any_of |= Q(conditions[state])
        questions = questions.filter(any_of)
    return questions.distinct()


def _due(cards: QuerySet[Card], user: User) -> QuerySet[Card]:
    now = timezone.now()
    today = cards.exclude(state=Card.NEW).filter(due__lt=tomorrow_start(now, study_settings(user)))
    return today.filter(Q(buried_until=None) | Q(buried_until__lte=now))
