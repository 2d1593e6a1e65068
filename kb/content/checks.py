"""Checks that hold for every kind of content: both languages are there, and what a text refers to exists."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from kb.content.arithmetic import wrong_sums
from kb.content.figures import bare_figures
from kb.content.latex import rejected_formulas
from kb.content.registry import ContentType, Item, Problem, content_types
from kb.markup import inline_kinds, inline_references
from kb.text import LANGUAGES, Text

Items = dict[str, list[Item]]

# By the name of the content type (`points`, `claims` …) all slugs that an item may refer to.
Known = dict[str, set[str]]


@dataclass(frozen=True)
class Finding:
    """Something wrong in one item. `place` is the way to it (`rubric.0.text`), empty where the whole item is meant."""

    code: str
    place: str
    message: str
    language: str = ""

    def __str__(self) -> str:
        place = f"{self.place} ({self.language})" if self.language else self.place
        return f"{place}: {self.message}" if place else self.message


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


def known_slugs(items: Items) -> Known:
    return {
        content_type.name: {key for item in items[content_type.name] for key in content_type.keys_of(item.source)}
        for content_type in content_types()
    }


def check_items(items: Items) -> Iterator[Problem]:
    """What is wrong in any one of the items."""
    known = known_slugs(items)
    for content_type in content_types():
        for item in items[content_type.name]:
            for finding in check_source(content_type, item.source, known):
                yield Problem(item.file, item.line, finding.code, str(finding))


def check_source(content_type: ContentType, source: Any, known: Known) -> Iterator[Finding]:
    """What is wrong in one item, given what exists beside it. The same for a file and for an edit in the admin."""
    for place, text in texts_of(source):
        yield from _check_languages(place, text)
        yield from _check_references(place, text, known)
        yield from _check_figures(place, text, is_prose=not content_type.prose.isdisjoint(place.split(".")))
    if content_type.check_one:
        yield from content_type.check_one(source, known)


def _check_languages(place: str, text: Text) -> Iterator[Finding]:
    missing = [language for language in LANGUAGES if not getattr(text, language).strip()]
    if len(missing) == 1:  # neither: the text is optional, or its schema would have complained
        yield Finding("missing-language", place, "there is no text", missing[0])


def _check_references(place: str, text: Text, known: Known) -> Iterator[Finding]:
    for language in LANGUAGES:
        for kind, slug in inline_references(getattr(text, language)):
            if kind not in inline_kinds():
                message = f"unknown kind in [[{kind}:{slug}]]; allowed: {', '.join(inline_kinds())}"
                yield Finding("dead-link", place, message, language)
            elif slug not in known.get(f"{kind}s", set()):
                yield Finding("dead-link", place, f"there is no {kind} {slug!r}", language)


def _check_figures(place: str, text: Text, *, is_prose: bool) -> Iterator[Finding]:
    for language in LANGUAGES:
        source = getattr(text, language)
        for message in rejected_formulas(source):
            yield Finding("latex", place, message, language)
        for equation in wrong_sums(source):
            yield Finding("wrong-sum", place, f"{equation} does not hold", language)
        for figure in bare_figures(source) if is_prose else []:
            message = f"{figure!r} needs a [[claim:…]] or [[plain:{figure}|the reason]]"
            yield Finding("bare-number", place, message, language)


def check_known(known: Known, name: str, slug: str, kind: str) -> Iterator[Finding]:
    """A problem when a field of an item names something of `kind` that does not exist."""
    if slug not in known.get(f"{kind}s", set()):
        yield Finding("dead-link", name, f"there is no {kind} {slug!r}")


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
