"""HTML of the content's texts, made when they are imported or edited: parsing Markdown takes longer than a page should.

A row goes by a digest of its text, so it is never out of date; a text without one is rendered when it is shown.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db.models import Model, QuerySet

from kb.markup import digest_of, render
from kb.models import Rendering
from kb.text import LANGUAGES, pick

# By model, the Markdown of its rows as pages show it. Each app adds its own in AppConfig.ready().
texts: dict[type[Model], Callable[[QuerySet[Any]], Iterable[str]]] = {}

# Rows written at once: others who want to write wait for some hundredths of a second.
BATCH = 200


def renderings_rebuild() -> None:
    """Render what is not kept yet and forget what no text needs any more, step by step, so that others can write."""
    wanted = {digest_of(text): text for model in texts for text in texts[model](model._default_manager.all())}
    kept = set(Rendering.objects.values_list("digest", flat=True))
    _render([text for digest, text in wanted.items() if digest not in kept])
    for gone in _batches(list(kept - wanted.keys())):
        Rendering.objects.filter(digest__in=gone).delete()


def renderings_follow(row: Model) -> None:
    """Render the texts of an item that was edited."""
    if type(row) in texts:
        _render(list(texts[type(row)](type(row)._default_manager.filter(pk=row.pk))))


def _render(sources: list[str]) -> None:
    for some in _batches(sources):
        rows = [Rendering(digest=digest_of(source), html=render(source)) for source in some]
        Rendering.objects.bulk_create(rows, ignore_conflicts=True)


def _batches(items: list[str]) -> Iterator[list[str]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def texts_of(rows: Iterable[Model], *fields: str) -> Iterator[str]:
    """The fields of the rows in both languages."""
    for row in rows:
        found = (pick(row, field, language) for field in fields for language in LANGUAGES)
        yield from (text for text in found if text)
