"""Versions of items: recording them, and what changed between two of them."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone

from kb.content.registry import type_of
from kb.content.writer import canonical, dump
from kb.schema import Source

Operation = Literal["same", "gone", "new"]

# Words that stay around a change; what lies further away is left out.
CONTEXT = 12
# Comparing takes time with the square of the pieces: longer texts are compared line by line, then not at all.
MAX_PIECES = 4000
_WORD = re.compile(r"[\u3400-\u9fff]|\w+|\s+|[^\w\s]")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def digest_of(source: Source) -> str:
    return hashlib.sha256(json.dumps(canonical(source), sort_keys=True).encode()).hexdigest()


def document_of(row: models.Model) -> dict[str, Any]:
    """What the row of an item holds, as plain data."""
    return canonical(type_of(row).source_of(row))


def version_record(row: models.Model, *, user: User | None, reason: str, is_new: bool = False) -> None:
    """Note the state of an item that was saved by hand."""
    versions_record([(row, document_of(row), is_new)], user=user, reason=reason)


def versions_record(
    edits: Iterable[tuple[Any, dict[str, Any], bool]], *, user: User | None = None, reason: str
) -> None:
    """Note (row, document, whether it is new) of items of one kind; one query."""
    versions = [
        row.history.model(
            document=document,
            history_type="+" if is_new else "~",
            history_date=timezone.now(),
            history_user=user,
            history_change_reason=reason[:100],
            **{field.attname: getattr(row, field.attname) for field in row.history.model.tracked_fields},
        )
        for row, document, is_new in edits
    ]
    if versions:
        type(versions[0])._default_manager.bulk_create(versions, batch_size=200)


# --- differences ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FieldChange:
    """What changed in one field, as pieces of text that stayed, went and came."""

    name: str
    pieces: list[tuple[Operation, str]]


def changes_between(before: dict[str, Any], after: dict[str, Any]) -> list[FieldChange]:
    """The fields in which two documents differ; the texts of both languages count as fields of their own."""
    old, new = dict(_fields(before)), dict(_fields(after))
    names = list(dict.fromkeys([*new, *old]))
    return [
        FieldChange(name, pieces_between(old.get(name, ""), new.get(name, "")))
        for name in names
        if old.get(name, "") != new.get(name, "")
    ]


def _fields(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        if isinstance(value, dict) and set(value) <= {"en", "zh"}:
            yield from ((f"{name} ({language})", text) for language, text in value.items())
        else:
            yield name, value if isinstance(value, str) else dump(value).removesuffix("...\n")


def pieces_between(before: str, after: str) -> list[tuple[Operation, str]]:
    for pattern in (_WORD, _LINE):
        old, new = pattern.findall(before), pattern.findall(after)
        if max(len(old), len(new)) <= MAX_PIECES:
            return list(_pieces(old, new))
    return [("gone", _shortened(before)), ("new", _shortened(after))]


def _pieces(old: list[str], new: list[str]) -> Iterator[tuple[Operation, str]]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for operation, a, b, c, d in matcher.get_opcodes():
        if operation == "equal":
            yield "same", _around(old[a:b], is_first=a == 0, is_last=b == len(old))
        else:
            both: list[tuple[Operation, str]] = [("gone", "".join(old[a:b])), ("new", "".join(new[c:d]))]
            yield from (piece for piece in both if piece[1])


def _around(words: list[str], *, is_first: bool, is_last: bool) -> str:
    """An unchanged stretch without its middle."""
    if len(words) <= 2 * CONTEXT:
        return "".join(words)
    head = "" if is_first else "".join(words[:CONTEXT])
    tail = "" if is_last else "".join(words[-CONTEXT:])
    return f"{head} … {tail}"


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_PIECES else f"{text[:MAX_PIECES]} … ({len(text)})"
