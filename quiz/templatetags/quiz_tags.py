"""Template tags of the quiz pages."""

from django import template
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from quiz.models import Turn
from quiz.sittings.report import is_mistake

register = template.Library()


@register.filter
def certainty_title(certainty: int) -> str:
    return str(dict(Turn.CERTAINTIES)[certainty])


@register.filter
def verdict_title(verdict: str) -> str:
    titles = {
        "too few": _("too few answers to tell"),
        "overconfident": pgettext("a learner's certainty", "too sure"),
        "underconfident": pgettext("a learner's certainty", "not sure enough"),
        "calibrated": pgettext("a learner's certainty", "fits"),
    }
    return titles[verdict]


@register.filter
def reason_title(reason: str) -> str:
    """Why a question was asked."""
    titles = {
        "planned": _("as planned"),
        "weak": _("a weak topic"),
        "unseen": _("not seen yet"),
        "level": _("one level up"),
        "topic": _("another topic"),
        "missed": _("because a point was missing"),
        "uncertain": _("because the answer was unsure"),
        "deeper": _("one level deeper"),
    }
    return titles[reason]


@register.filter
def turn_name(turn: Turn) -> str:
    return _("follow-up %(step)s to question %(position)s") % {"step": turn.step, "position": turn.position}


@register.filter
def signed(marks: float) -> str:
    """Marks with their sign: `+3`, `−2`, `+0.5`."""
    shown = f"{abs(marks):.1f}".removesuffix(".0")
    sign = "+" if marks > 0 else "−" if marks < 0 else ""
    return sign + shown


@register.filter
def minutes(milliseconds: int) -> str:
    """Time spent, to the minute once there is one."""
    seconds = round(milliseconds / 1000)
    if seconds < 60:
        return ngettext("%(n)s second", "%(n)s seconds", seconds) % {"n": seconds}
    return ngettext("%(n)s minute", "%(n)s minutes", round(seconds / 60)) % {"n": round(seconds / 60)}


@register.filter
def result_class(turn: Turn) -> str:
    if turn.attempt and turn.attempt.score is None:
        return "result-open"
    return "result-wrong" if is_mistake(turn) else "result-right"
