"""Template tags for search results."""

from django import template
from django.utils.translation import gettext as _

from kb.search import Hit

register = template.Library()


@register.filter
def hit_kind(hit: Hit) -> str:
    titles = {"point": _("knowledge point"), "question": _("question"), "claim": _("claim"), "lab": _("lab")}
    return titles[hit.kind]
