"""Template tags that every page may need: bilingual titles, the current section, numbers."""

from typing import Any

import nh3
from django import template
from django.template import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from kb.templatetags.content import fallback_language, markdown
from kb.text import pick

register = template.Library()

INLINE = nh3.Cleaner(tags={"code", "em", "strong", "span", "sub", "sup"}, attributes={"span": {"class"}})


@register.filter
def bilingual(obj: Any, field: str) -> SafeString:
    """`{{ topic|bilingual:"title" }}`: the field, marked with its language where it falls back to the other one."""
    language = fallback_language(obj, field)
    text = pick(obj, field)
    return format_html('<span lang="{}">{}</span>', language, text) if language else format_html("{}", text)


@register.filter
def text_language(obj: Any, field: str) -> str:
    """`lang="{{ point|text_language:"title" }}"`: the language that the field is shown in."""
    return fallback_language(obj, field) or get_language() or "en"


@register.simple_tag(takes_context=True)
def markdown_inline(context: Context, obj: Any, field: str) -> SafeString:
    """`{% markdown_inline question "prompt" %}`: without blocks and links, to stand inside a link or a heading."""
    html = markdown(context, obj, field)
    return mark_safe(INLINE.clean(html))  # noqa: S308 - just sanitised


@register.filter
def dots(level: int) -> str:
    """A difficulty from 1 to 5 as `●●●○○`."""
    return "●" * level + "○" * (5 - level)


@register.simple_tag(takes_context=True)
def aria_current(context: Context, prefixes: str) -> SafeString:
    """`aria-current="page"` where the view's name starts with one of the prefixes, written with spaces between."""
    match = getattr(context.get("request"), "resolver_match", None)
    name = match.url_name or "" if match else ""
    is_current = name.startswith(tuple(prefixes.split()))
    return SafeString('aria-current="page"' if is_current else "")


@register.filter
def part_title(part: str) -> str:
    """The heading of a part of a knowledge point."""
    titles = {
        "definition": _("In one breath"),
        "mechanism": _("How it works"),
        "practice": _("Why it matters"),
        "mistake": _("The common mistake"),
        "example": _("Worked example"),
    }
    return titles[part]
