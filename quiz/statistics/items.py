"""Item analysis for editors: how hard a question is, whether it tells strong from weak learners, what its choices do.

Every learner counts once a question, with the first scored answer: later ones say more about practice than about the
question. The discrimination is the point-biserial correlation (for scores between 0 and 1 simply Pearson's) of the
score with the learner's mean score on all *other* questions, the item-rest correlation.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import StatisticsError, correlation, fmean

from django.db.models import Avg, Count, Min, QuerySet, Sum

from quiz.models import Attempt, Question

# Learners from which on a discrimination is shown; with fewer it is mostly chance.
LEAST_LEARNERS = 10
# Below this correlation a question hardly tells strong from weak learners.
LOW_DISCRIMINATION = 0.1
# A share of learners below which a wrong choice distracts nobody, where there are enough learners.
RARE = 0.05

# The advice: codes, which the templates put into words.
NEGATIVE, LOW, EASY_ITEM, HARD_ITEM = "negative", "low", "easy", "hard"


@dataclass(frozen=True)
class First:
    """A learner's first scored answer to a question."""

    learner: int
    score: float
    given: object
    rest: float | None  # mean score on all other questions


@dataclass(frozen=True)
class Item:
    question: Question
    learners: int
    facility: float | None  # mean score
    discrimination: float | None

    @property
    def advice(self) -> str:
        """What an editor should look at, or nothing."""
        if self.facility is None or self.learners < LEAST_LEARNERS:
            return ""
        if self.discrimination is not None and self.discrimination < 0:
            return NEGATIVE
        if self.facility > 0.95:
            return EASY_ITEM
        if self.facility < 0.2:
            return HARD_ITEM
        return LOW if self.discrimination is not None and self.discrimination < LOW_DISCRIMINATION else ""


@dataclass(frozen=True)
class Option:
    """What one choice did."""

    position: int
    is_correct: bool
    chosen: int
    share: float
    rest: float | None  # mean score on other questions of those who chose it
    advice: str  # "unused", "strong" or nothing


def answered_questions() -> QuerySet[Question]:
    """With `learners` and `facility` over all scored answers, to sort by; the exact figures come from `items_of`."""
    scored = Question.objects.filter(attempts__score__isnull=False).select_related("topic")
    return scored.annotate(learners=Count("attempts__owner", distinct=True), facility=Avg("attempts__score"))


def first_answers(questions: Iterable[Question]) -> dict[int, list[First]]:
    """Three queries for all the questions."""
    ids = [question.pk for question in questions]
    scored = Attempt.objects.filter(score__isnull=False)
    firsts = scored.filter(question__in=ids).order_by().values("owner", "question").annotate(first=Min("pk"))
    rows = list(
        Attempt.objects.filter(pk__in=firsts.values("first")).values_list("question_id", "owner_id", "score", "given")
    )
    learners = {owner for _, owner, _, _ in rows}
    sums = scored.filter(owner__in=learners).order_by().values_list("owner").annotate(Sum("score"), Count("pk"))
    totals = {owner: (total, count) for owner, total, count in sums}
    own = (
        scored.filter(question__in=ids).order_by().values_list("owner", "question").annotate(Sum("score"), Count("pk"))
    )
    here = {(owner, question): (total, count) for owner, question, total, count in own}
    found: dict[int, list[First]] = defaultdict(list)
    for question, owner, score, given in rows:
        total, count = (a - b for a, b in zip(totals[owner], here[owner, question], strict=True))
        found[question].append(First(owner, score or 0.0, given, total / count if count else None))
    return found


def items_of(questions: Sequence[Question]) -> list[Item]:
    answers = first_answers(questions)
    return [item_of(question, answers[question.pk]) for question in questions]


def item_of(question: Question, answers: Sequence[First]) -> Item:
    facility = fmean(answer.score for answer in answers) if answers else None
    return Item(question, len(answers), facility, discrimination(answers))


def discrimination(answers: Sequence[First]) -> float | None:
    """Item-rest correlation, -1 to 1; None below LEAST_LEARNERS or where one of the two does not vary."""
    pairs = [(answer.score, answer.rest) for answer in answers if answer.rest is not None]
    if len(pairs) < LEAST_LEARNERS:
        return None
    try:
        return correlation([score for score, _ in pairs], [rest for _, rest in pairs])
    except StatisticsError:
        return None


def options_of(question: Question, answers: Sequence[First]) -> list[Option]:
    """Each choice of a single- or multiple-choice question; none for other kinds."""
    chosen: dict[int, list[First]] = defaultdict(list)
    for answer in answers:
        for position in answer.given if isinstance(answer.given, list) else []:
            chosen[position].append(answer)
    rests = {position: _mean_rest(those) for position, those in chosen.items()}
    choices = list(question.choices.all())
    right = [rest for c in choices if c.is_correct and (rest := rests.get(c.position)) is not None]
    found = []
    for choice in choices:
        count, rest = len(chosen[choice.position]), rests.get(choice.position)
        share = count / len(answers) if answers else 0.0
        advice = ""
        if len(answers) >= LEAST_LEARNERS and not choice.is_correct:
            if share < RARE:
                advice = "unused"
            elif rest is not None and right and rest > max(right):
                advice = "strong"
        found.append(Option(choice.position, choice.is_correct, count, share, rest, advice))
    return found


def _mean_rest(answers: Iterable[First]) -> float | None:
    rests = [answer.rest for answer in answers if answer.rest is not None]
    return fmean(rests) if rests else None
