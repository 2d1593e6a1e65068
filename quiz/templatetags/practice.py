"""Template tags for rubrics and grades."""

from django import template
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

register = template.Library()


@register.filter
def grade_title(grade: int) -> str:
    titles = {
        1: pgettext("grade of an answer", "Again"),
        2: pgettext("grade of an answer", "Hard"),
        3: pgettext("grade of an answer", "Good"),
        4: pgettext("grade of an answer", "Easy"),
    }
    return titles[grade]


@register.filter
def grade_meaning(grade: int) -> str:
    """What a learner says with the grade."""
    meanings = {
        1: _("I did not know it"),
        2: _("with gaps"),
        3: _("as it should be"),
        4: _("without thinking"),
    }
    return meanings[grade]


@register.filter
def dimension_title(dimension: str) -> str:
    titles = {
        "concept": _("concept"),
        "mathematics": _("mathematics"),
        "engineering": _("engineering"),
        "trade-offs": _("trade-offs"),
        "evidence": _("evidence"),
    }
    return titles[dimension]


@register.filter
def percent(share: float) -> str:
    return f"{100 * share:.0f} %"
