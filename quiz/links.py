"""`[[question:slug]]` in a text."""

from collections.abc import Iterable

from django.utils.html import format_html, strip_tags

from kb.text import Language, pick
from quiz.models import Question


def question_links(slugs: Iterable[str], language: Language) -> dict[str, str]:
    questions = Question.objects.filter(slug__in=list(slugs)).only("slug", "prompt_en", "prompt_zh")
    return {
        q.slug: format_html('<a href="{}">{}</a>', q.get_absolute_url(), strip_tags(pick(q, "prompt", language)))
        for q in questions
    }
