"""Template tags for bilingual Markdown."""

from typing import Any

from django import template
from django.template import Context
from django.utils.safestring import SafeString

from kb.markup import Resolver
from kb.text import active_language, is_missing, pick

register = template.Library()


@register.filter
def text(obj: Any, field: str) -> str:
    """`{{ point|text:"title" }}`: the field in the active language, or in the other one where it is missing."""
    return pick(obj, field)


@register.filter
def fallback_language(obj: Any, field: str) -> str:
    """The language tag to set where a text falls back to the other language, empty where it does not."""
    if not is_missing(obj, field):
        return ""
    return "en" if active_language() == "zh" else "zh-Hans"


@register.simple_tag(takes_context=True)
def markdown(context: Context, obj: Any, field: str) -> SafeString:
    """`{% markdown point "definition" %}`: a bilingual field as safe HTML with its chips and links."""
    return _resolver(context).html(pick(obj, field))


@register.simple_tag(takes_context=True)
def markdown_text(context: Context, source: str) -> SafeString:
    """`{% markdown_text lab.takeaway %}`: the same for a text that is not a pair of columns."""
    return _resolver(context).html(str(source))


def _resolver(context: Context) -> Resolver:
    """The page's resolver; a view that shows several texts prepares one itself, so that chips cost one query a kind."""
    resolver = context.get("resolver")
    return resolver if isinstance(resolver, Resolver) else Resolver(active_language())
