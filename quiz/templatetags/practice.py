"""Template tags for rubrics and grades."""

from django import template
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

register = template.Library()

# Lazy, so that each use translates the one word that it shows.
GRADE_TITLES = {
    1: pgettext_lazy("grade of an answer", "Again"),
    2: pgettext_lazy("grade of an answer", "Hard"),
    3: pgettext_lazy("grade of an answer", "Good"),
    4: pgettext_lazy("grade of an answer", "Easy"),
}
GRADE_MEANINGS = {
    1: _("I did not know it"),
    2: _("with gaps"),
    3: _("as it should be"),
    4: _("without thinking"),
}
DIMENSION_TITLES = {
    "concept": _("concept"),
    "mathematics": _("mathematics"),
    "engineering": _("engineering"),
    "trade-offs": _("trade-offs"),
    "evidence": _("evidence"),
}


@register.filter
def grade_title(grade: int) -> str:
    return str(GRADE_TITLES[grade])


@register.filter
def grade_meaning(grade: int) -> str:
    """What a learner says with the grade."""
    return str(GRADE_MEANINGS[grade])


@register.filter
def dimension_title(dimension: str) -> str:
    return str(DIMENSION_TITLES[dimension])


@register.filter
def percent(share: float) -> str:
    return f"{100 * share:.0f} %"
