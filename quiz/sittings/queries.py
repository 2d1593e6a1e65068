"""Reads of the quiz pages."""

from django.contrib.auth.models import User
from django.db.models import Avg, Case, Count, F, Q, QuerySet, Sum, When
from django.http import Http404

from labs.models import Prediction
from quiz.models import Sitting, Turn

QUESTION = ("question__topic", "question__parent", "question__root")
SHOWN = ("question__rubric", "question__choices", "question__follow_ups", "question__points")


def sitting_for_user(user: User, sitting_id: int, kind: str = Sitting.QUIZ) -> Sitting:
    """The user's own sitting, or Http404: others' do not exist for them."""
    sitting = Sitting.objects.filter(pk=sitting_id, owner=user.pk, kind=kind).first()
    if sitting is None:
        raise Http404(f"No {kind} {sitting_id} of yours")
    return sitting


def turn_for_user(user: User, sitting_id: int, turn_id: int, kind: str = Sitting.QUIZ) -> Turn:
    """The turn with what its page shows, or Http404."""
    turns = Turn.objects.select_related("sitting__owner", "attempt", "after__question", *QUESTION).prefetch_related(
        *SHOWN
    )
    found = turns.filter(pk=turn_id, sitting=sitting_id, sitting__owner=user.pk, sitting__kind=kind)
    turn = found.first()
    if turn is None:
        raise Http404(f"No turn {turn_id} of yours")
    return turn


def turns_of(sitting: Sitting) -> list[Turn]:
    """All turns in the order of asking, for the list of them and for the next one."""
    return list(sitting.turns.select_related("question", "attempt"))


def turns_with_answers(sitting: Sitting) -> list[Turn]:
    """All turns with everything that the report shows."""
    return list(sitting.turns.select_related("attempt", *QUESTION).prefetch_related(*SHOWN))


def sittings_of(user: User, kind: str = Sitting.QUIZ) -> QuerySet[Sitting]:
    """The user's sittings, newest first, each with what its line in the history shows."""
    sittings = Sitting.objects.filter(owner=user.pk, kind=kind)
    return sittings.annotate(
        turn_count=Count("turns"),
        answered=Count("turns", filter=Q(turns__attempt__isnull=False)),
        score=Avg(Case(When(turns__attempt=None, then=0.0), default=F("turns__attempt__score"))),
        marks=Sum("turns__marks"),
    ).order_by("-pk")


def sure_answers(user: User) -> list[tuple[int, float]]:
    """(certainty, score) of all that the user was more or less sure of: quizzes, interviews, predictions of runs."""
    turns = Turn.objects.filter(sitting__owner=user.pk)
    predictions = Prediction.objects.filter(run__owner=user.pk)
    found = [*turns.values_list("certainty", "attempt__score"), *predictions.values_list("certainty", "score")]
    return [(certainty, score) for certainty, score in found if certainty is not None and score is not None]
