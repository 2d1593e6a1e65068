"""Template tags for own cards."""

from django import template
from django.utils.safestring import SafeString, mark_safe

from quiz.anki.incoming import Incoming
from quiz.models import OwnCard

register = template.Library()


@register.filter
def side(card: OwnCard | Incoming, name: str) -> SafeString:
    """`{{ card|side:"front" }}`: HTML that was sanitised when it came in."""
    return mark_safe({"front": card.front, "back": card.back}[name])  # noqa: S308
