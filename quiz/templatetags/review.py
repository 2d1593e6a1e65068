"""Template tags of the review."""

from datetime import datetime
from typing import Any

from django import template
from django.contrib.auth.models import User
from django.template import Context
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from quiz.models import Card, Sitting, StudySettings
from quiz.review.queue import Counts, due_today

register = template.Library()

MINUTE, HOUR, DAY = 60, 3600, 86_400

# Lazy, so that each use translates the one word that it shows.
STATE_TITLES = {
    Card.NEW: gettext_lazy("New"),
    Card.LEARNING: gettext_lazy("Learning"),
    Card.REVIEW: gettext_lazy("In review"),
    Card.RELEARNING: gettext_lazy("Relearning"),
}


@register.filter
def until(due: datetime | None, now: datetime) -> str:
    """`{{ button.due|until:now }}`: how long from now, in the largest unit that says enough."""
    seconds = max((due - now).total_seconds(), 0) if due else 0
    if seconds < HOUR:
        return _("%(n)s min") % {"n": max(round(seconds / MINUTE), 1)}
    if seconds < DAY - HOUR / 2:
        return _("%(n)s h") % {"n": round(seconds / HOUR)}
    return days(seconds / DAY)


@register.filter
def days(n: float | None) -> str:
    """A number of days as days, months or years."""
    if n is None:
        return "–"
    if n < 45:
        shown = round(n) if n >= 9.95 or float(n).is_integer() else round(n, 1)
        return ngettext("%(n)s day", "%(n)s days", 1 if shown == 1 else 2) % {"n": f"{shown:g}"}
    if n < 365:
        return _("%(n)s months") % {"n": f"{n / 30.44:.1f}"}
    return _("%(n)s years") % {"n": f"{n / 365.25:.1f}"}


@register.filter
def seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.1f}"


@register.filter
def state_title(card: Card) -> str:
    return str(STATE_TITLES[card.state])


@register.filter
def action_title(action: str) -> str:
    titles = {
        "grade": _("Graded"),
        "bury": _("Buried"),
        "unbury": _("Unburied"),
        "suspend": _("Suspended"),
        "unsuspend": _("Taken back in"),
        "set_due": _("Date set"),
        "reset": _("Reset"),
        "reschedule": _("Rescheduled"),
        "undo": _("Undone"),
    }
    return titles[action]


@register.simple_tag(takes_context=True)
def due_counts(context: Context) -> Counts | None:
    """`{% due_counts as due %}`: what is left of today for those who are signed in; read once a page."""
    user = context.get("user")
    if not isinstance(user, User):
        return None
    counts = context.get("counts")
    if not isinstance(counts, Counts):
        counts = context.dicts[0]["counts"] = due_today(user)
    return counts


@register.inclusion_tag("review/_today.html", takes_context=True)
def today_block(context: Context) -> dict[str, Any]:
    """What waits for somebody who is signed in, on the start page."""
    user = context.get("user")
    if not isinstance(user, User):
        return {"user": user}
    return {
        "user": user,
        "due": due_counts(context),
        "settings": StudySettings.objects.filter(owner=user).first(),
        "sitting": Sitting.objects.filter(owner=user, finished_at=None).first(),
    }
