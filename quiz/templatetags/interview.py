"""Template tags of the mock interview."""

from datetime import timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.translation import gettext as _

from quiz.asking import Asked, Assessment, ask, assess
from quiz.models import Question, RubricPoint, Turn

register = template.Library()

# After this the page stops asking for advice; it is in the report when it comes.
PATIENCE = timedelta(minutes=5)
# What the share of a bar is drawn on.
BAR_WIDTH = 100


@register.filter
def as_asked(turn: Turn) -> Asked:
    """The question with the numbers that this turn drew."""
    return ask(turn.question, str(turn.token), turn.attempt.drawn if turn.attempt else None)


@register.filter
def as_question(turn: Turn) -> Question:
    return as_asked(turn).question


@register.filter
def assessment(turn: Turn) -> Assessment | None:
    return assess(as_asked(turn), turn.attempt.given) if turn.attempt else None


@register.filter
def clock(seconds: float) -> str:
    """`4:05`; an hour is sixty minutes more."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


@register.filter
def seconds(milliseconds: int) -> float:
    return milliseconds / 1000


@register.filter
def is_over(turn: Turn) -> bool:
    """Whether the answer took longer than its question allowed."""
    return bool(turn.attempt and turn.seconds and turn.attempt.milliseconds > 1000 * turn.seconds)


@register.filter
def bar_width(share: float) -> str:
    return f"{BAR_WIDTH * share:.1f}"


@register.filter
def turn_reason(turn: Turn) -> str:
    """Why the interviewer asked this."""
    reasons = {
        "planned": _("at your level"),
        "weak": _("a topic that is weak so far"),
        "unseen": _("not answered before"),
        "level": _("the level follows your last answer"),
        "topic": _("a topic that has not come up"),
        "missed": _("follows up what was missed"),
        "uncertain": _("follows up an unsure answer"),
        "deeper": _("one level deeper"),
    }
    return reasons[turn.reason]


@register.filter
def missed_point(turn: Turn) -> RubricPoint | None:
    """The rubric point of the answer before whose absence led to this follow-up."""
    if turn.missed is None or turn.after is None:
        return None
    return next((point for point in turn.after.question.rubric.all() if point.position == turn.missed), None)


@register.filter
def is_awaited(turn: Turn) -> bool:
    """Whether the page should go on asking for the grader's advice."""
    is_recent = turn.answered_at is not None and timezone.now() - turn.answered_at < PATIENCE
    return turn.advice.get("state") == "waiting" and is_recent


@register.filter
def no_advice(turn: Turn) -> str:
    """Why there is no advice."""
    reasons = {
        "queue": _("the queue could not be reached"),
        "unreachable": _("it could not be reached"),
        "slow": _("it took too long"),
        "status": _("it refused the question"),
        "long": _("it answered at too great a length"),
        "unreadable": _("its answer was not in the form that was asked for"),
    }
    return reasons.get(turn.advice.get("why", ""), "")


@register.filter
def verdict_on(turn: Turn, point: RubricPoint) -> dict[str, Any] | None:
    """The grader's advice on one rubric point."""
    return next((v for v in turn.advice.get("points", []) if v["position"] == point.position), None)
