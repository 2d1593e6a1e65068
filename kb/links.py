"""Inline references that kb itself knows: points and cited works."""

from collections.abc import Iterable

from django.utils.html import format_html

from kb.models import Point, Reference
from kb.text import Language, pick


def point_links(slugs: Iterable[str], language: Language) -> dict[str, str]:
    points = Point.objects.filter(slug__in=list(slugs)).only("slug", "title_en", "title_zh")
    return {
        p.slug: format_html('<a href="{}">{}</a>', p.get_absolute_url(), pick(p, "title", language)) for p in points
    }


def reference_links(keys: Iterable[str], language: Language) -> dict[str, str]:
    references = Reference.objects.filter(key__in=list(keys))
    template = '<a class="citation" href="{}" title="{}">[{} {}]</a>'
    return {
        r.key: format_html(template, r.get_absolute_url(), r.title, short_authors(r.authors), r.year)
        for r in references
    }


def short_authors(authors: str) -> str:
    """`Hu, Shen, Wallis` becomes `Hu et al.`; one name stays, two stay joined. Names are separated by commas."""
    names = [name.strip() for name in authors.split(",")]
    last = [name.split()[-1] for name in names if name]
    if len(last) <= 2:
        return " & ".join(last)
    return f"{last[0]} et al."
