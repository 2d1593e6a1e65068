"""Checks that hold for every kind of content: both languages are there, and what a text refers to exists."""

from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from kb.content.arithmetic import wrong_sums
from kb.content.figures import bare_figures
from kb.content.latex import rejected_formulas
from kb.content.registry import Item, Problem, content_types
from kb.markup import inline_kinds, inline_references
from kb.text import LANGUAGES, Text

Items = dict[str, list[Item]]


def texts_of(source: BaseModel, place: str = "") -> Iterator[tuple[str, Text]]:
    """Every (place, text) in a source, nested ones too: `follow_ups.0.answer`."""
    for name in type(source).model_fields:
        yield from _texts_in(getattr(source, name), f"{place}{name}")


def _texts_in(value: object, place: str) -> Iterator[tuple[str, Text]]:
    if isinstance(value, Text):
        yield place, value
    elif isinstance(value, BaseModel):
        yield from texts_of(value, f"{place}.")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _texts_in(child, f"{place}.{index}")


def known_slugs(items: Items) -> dict[str, set[str]]:
    """By inline kind (`claim`, `point` …) all slugs that a text may refer to."""
    known: dict[str, set[str]] = {}
    for content_type in content_types():
        if content_type.inline:
            group = items[content_type.name]
            known[content_type.inline] = {key for item in group for key in content_type.keys_of(item.source)}
    return known


def check_texts(items: Items) -> Iterable[Problem]:
    known = known_slugs(items)
    for content_type in content_types():
        for item in items[content_type.name]:
            for place, text in texts_of(item.source):
                yield from _check_languages(item, place, text)
                yield from _check_references(item, place, text, known)
                is_prose = not content_type.prose.isdisjoint(place.split("."))
                yield from _check_figures(item, place, text, is_prose=is_prose)


def _check_languages(item: Item, place: str, text: Text) -> Iterator[Problem]:
    missing = [language for language in LANGUAGES if not getattr(text, language).strip()]
    if len(missing) == 1:  # neither: the text is optional, or its schema would have complained
        yield Problem(item.file, item.line, "missing-language", f"{place} has no text in {missing[0]}")


def _check_references(item: Item, place: str, text: Text, known: dict[str, set[str]]) -> Iterator[Problem]:
    for language in LANGUAGES:
        for kind, slug in inline_references(getattr(text, language)):
            if kind not in inline_kinds():
                message = (
                    f"{place} ({language}): unknown kind in [[{kind}:{slug}]]; allowed: {', '.join(inline_kinds())}"
                )
                yield Problem(item.file, item.line, "dead-link", message)
            elif slug not in known.get(kind, set()):
                yield Problem(item.file, item.line, "dead-link", f"{place} ({language}): there is no {kind} {slug!r}")


def _check_figures(item: Item, place: str, text: Text, *, is_prose: bool) -> Iterator[Problem]:
    for language in LANGUAGES:
        source = getattr(text, language)
        for message in rejected_formulas(source):
            yield Problem(item.file, item.line, "latex", f"{place} ({language}): {message}")
        for equation in wrong_sums(source):
            yield Problem(item.file, item.line, "wrong-sum", f"{place} ({language}): {equation} does not hold")
        for figure in bare_figures(source) if is_prose else []:
            message = f"{place} ({language}): {figure!r} needs a [[claim:…]] or [[plain:{figure}|the reason]]"
            yield Problem(item.file, item.line, "bare-number", message)


def check_known(items: Items, item: Item, name: str, slug: str, kind: str) -> Iterator[Problem]:
    """A problem when a field of `item` names something of `kind` that no file defines."""
    if slug not in known_slugs_of(items, kind):
        yield Problem(item.file, item.line, "dead-link", f"{name}: there is no {kind} {slug!r}")


def known_slugs_of(items: Items, kind: str) -> set[str]:
    return {getattr(item.source, "slug", "") or item.source.key for item in items[f"{kind}s"]}


def find_cycle(edges: dict[str, list[str]]) -> list[str]:
    """A cycle in a directed graph as the nodes along it, or an empty list."""
    done: set[str] = set()
    for start in edges:
        path: list[str] = []
        if cycle := _walk(start, edges, path, done):
            return cycle
    return []


def _walk(node: str, edges: dict[str, list[str]], path: list[str], done: set[str]) -> list[str]:
    if node in path:
        return [*path[path.index(node) :], node]
    if node in done:
        return []
    path.append(node)
    for following in edges.get(node, []):
        if cycle := _walk(following, edges, path, done):
            return cycle
    path.pop()
    done.add(node)
    return []
