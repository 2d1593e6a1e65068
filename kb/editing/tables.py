"""Items as tables for spreadsheets and scripts: CSV with a column a text, or JSONL with the keys of the content files.

A table may leave columns out; what it does not name stays as it is. An empty cell empties its field.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from django.contrib.auth.models import User
from django.db import transaction

from kb.content.checks import Finding, Known
from kb.content.registry import ContentType
from kb.content.writer import canonical
from kb.editing.checks import ItemRefused, checked_source, is_retired, known_here
from kb.editing.services import item_save
from kb.editing.versions import FieldChange, changes_between
from kb.markup import MAX_SOURCE
from kb.text import LANGUAGES, Text

Format = Literal["csv", "jsonl"]

MAX_BYTES = 5 * 1024 * 1024
MAX_ERRORS = 50
PARENT = "parent"
# Lists of slugs and ids: in a cell they stand side by side. All other structures are JSON in a cell.
WORDS = frozenset({"covers", "points", "prerequisites"})
# Spreadsheets compute what begins like this; an apostrophe keeps it text, and is taken off again.
_FORMULA = re.compile(r"^'*[=+\-@\t\r]")

csv.field_size_limit(MAX_BYTES)


@dataclass(frozen=True)
class TableError:
    row: int
    column: str
    message: str

    def __str__(self) -> str:
        place = f"row {self.row}" + (f", column {self.column}" if self.column else "")
        return f"{place}: {self.message}"


class TableRefused(ValueError):
    """A table with errors; nothing was written."""

    def __init__(self, errors: list[TableError]) -> None:
        self.errors = errors
        super().__init__("\n".join(str(error) for error in errors[:MAX_ERRORS]))


@dataclass(frozen=True)
class Record:
    """One item of a table: the keys that it names, with `""` for an emptied cell."""

    row: int
    key: str
    values: dict[str, Any]


@dataclass(frozen=True)
class ItemChange:
    key: str
    is_new: bool
    changes: list[FieldChange] = field(default_factory=list)


def format_of(name: str) -> Format:
    """By the ending of a file's name; CSV unless it says otherwise."""
    return "jsonl" if name.lower().endswith((".jsonl", ".ndjson")) else "csv"


# --- writing ----------------------------------------------------------------------------------------------------------


def table_export(content_type: ContentType, form: Format) -> str:
    records = [_record_of(row, content_type) for row in content_type.rows()]  # type: ignore[misc]
    if form == "jsonl":
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    out = io.StringIO()
    names = columns_of(content_type)
    writer = csv.DictWriter(out, names, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(_cells(record, names) for record in records)
    return "\ufeff" + out.getvalue()  # without the mark spreadsheets take UTF-8 for something else


def _record_of(row: Any, content_type: ContentType) -> dict[str, Any]:
    document = canonical(content_type.source_of(row))
    parent = getattr(row, PARENT, None)
    return {content_type.key: document[content_type.key], **({PARENT: parent.slug} if parent else {}), **document}


def columns_of(content_type: ContentType) -> list[str]:
    """The columns of the CSV: the key first, two columns for a text in both languages."""
    names: dict[str, None] = {content_type.key: None}
    names |= {PARENT: None} if content_type.has_tree else {}
    for name, is_text in _fields(content_type).items():
        names |= {f"{name}_{language}": None for language in LANGUAGES} if is_text else {name: None}
    return list(names)


def _fields(content_type: ContentType) -> dict[str, bool]:
    """All fields that an item of the type may have, and whether each is a text in both languages."""
    schemas = content_type.schemas or (content_type.schema,)
    fields = {name: info.annotation for schema in schemas for name, info in schema.model_fields.items()}
    return {name: annotation is Text for name, annotation in fields.items() if name != "follow_ups"}


def _cells(record: dict[str, Any], names: list[str]) -> dict[str, str]:
    cells: dict[str, str] = {}
    for name, value in record.items():
        if _is_text(value) and f"{name}_en" in names:
            cells |= {f"{name}_{language}": _cell(name, text) for language, text in value.items()}
        else:
            cells[name] = _cell(name, value)
    return cells


def _cell(name: str, value: Any) -> str:
    if name in WORDS:
        return " ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if _FORMULA.match(text) else text


# --- reading ----------------------------------------------------------------------------------------------------------


def table_read(content_type: ContentType, data: bytes, form: Format) -> list[Record]:
    """The records of a file. TableRefused names row and column of all that cannot be read."""
    if len(data) > MAX_BYTES:
        raise TableRefused([TableError(1, "", f"the file has {len(data)} bytes; allowed: {MAX_BYTES}")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        row = data[: e.start].count(b"\n") + 1
        raise TableRefused([TableError(row, "", f"not UTF-8 (byte {e.start}); save the file as UTF-8")]) from e
    if "\0" in text:
        raise TableRefused([TableError(text[: text.index("\0")].count("\n") + 1, "", "holds a NUL character")])
    errors: list[TableError] = []
    read = _read_csv if form == "csv" else _read_jsonl
    records = list(read(content_type, text, errors))
    errors += _repeated(records)
    if not records and not errors:
        errors.append(TableError(1, "", "the file holds no items"))
    if errors:
        raise TableRefused(errors)
    return records


def _repeated(records: list[Record]) -> Iterator[TableError]:
    first: dict[str, int] = {}
    for record in records:
        if first.setdefault(record.key, record.row) != record.row:
            yield TableError(record.row, "slug", f"{record.key!r} is already in row {first[record.key]}")


def _read_csv(content_type: ContentType, text: str, errors: list[TableError]) -> Iterator[Record]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names = columns_of(content_type)
    try:
        header = next(reader, [])
        errors += _header_errors(header, names, content_type.key)
        if errors:
            return
        for row, cells in enumerate(reader, start=2):
            if not any(cells):
                continue
            if len(cells) != len(header):
                errors.append(TableError(row, "", f"has {len(cells)} cells; the header has {len(header)}"))
                continue
            record = _record_in(content_type, row, dict(zip(header, cells, strict=True)), errors)
            if record:
                yield record
    except csv.Error as e:
        errors.append(TableError(reader.line_num, "", f"not valid CSV: {e}"))


def _header_errors(header: list[str], names: list[str], key: str) -> Iterator[TableError]:
    for name in dict.fromkeys(header):
        if name not in names:
            yield TableError(1, name or "(empty)", f"unknown column; allowed: {', '.join(names)}")
        if header.count(name) > 1:
            yield TableError(1, name, "stands there twice")
    if key not in header:
        yield TableError(1, key, "this column is missing")


def _record_in(content_type: ContentType, row: int, cells: dict[str, str], errors: list[TableError]) -> Record | None:
    before = len(errors)
    values: dict[str, Any] = {}
    fields = _fields(content_type)
    for column, raw in cells.items():
        text = raw[1:] if _FORMULA.match(raw) and raw.startswith("'") else raw
        text = text.replace("\r\n", "\n")
        if len(text) > MAX_SOURCE:
            errors.append(TableError(row, column, f"{len(text)} characters; allowed: {MAX_SOURCE}"))
            continue
        name, language = (column[:-3], column[-2:]) if fields.get(column[:-3]) else (column, "")
        if language:
            values.setdefault(name, {})[language] = text
        else:
            values[name] = _parsed(name, text, row, errors)
    if not cells[content_type.key]:
        errors.append(TableError(row, content_type.key, "is empty"))
    return Record(row, cells[content_type.key], values) if len(errors) == before else None


def _parsed(name: str, text: str, row: int, errors: list[TableError]) -> Any:
    if name in WORDS:
        return text.split()
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as e:
        errors.append(TableError(row, name, f"not valid JSON: {e}"))
        return text


def _read_jsonl(content_type: ContentType, text: str, errors: list[TableError]) -> Iterator[Record]:
    allowed = {PARENT} if content_type.has_tree else set()
    allowed |= _fields(content_type).keys()
    for row, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as e:
            errors.append(TableError(row, "", f"not valid JSON: {e}"))
            continue
        if not isinstance(values, dict) or not isinstance(values.get(content_type.key), str):
            errors.append(TableError(row, content_type.key, "every line has to be an object with this key"))
            continue
        errors += [TableError(row, name, "unknown key") for name in values if name not in allowed]
        errors += [TableError(row, place, f"longer than {MAX_SOURCE} characters") for place in _over_long(values)]
        yield Record(row, values[content_type.key], values)


def _over_long(values: dict[str, Any]) -> Iterator[str]:
    yield from (name for name, value in values.items() if len(json.dumps(value, ensure_ascii=False)) > MAX_SOURCE)


# --- importing --------------------------------------------------------------------------------------------------------


def table_import(
    content_type: ContentType, records: Iterable[Record], *, user: User | None = None, dry_run: bool = False
) -> list[ItemChange]:
    """Save what the records change, all or nothing; returns the changes. TableRefused names what is wrong where."""
    records = list(records)
    with transaction.atomic():
        known = known_here()
        known[content_type.name] |= {record.key for record in records}
        errors: list[TableError] = []
        saved = [_save(content_type, record, known, user, errors) for record in records]
        if errors:
            raise TableRefused(errors)
        # New items may name each other: their links are complete once all of them are there.
        for row, source, change in filter(None, saved):
            if change.is_new:
                content_type.apply(row, source)
        transaction.set_rollback(dry_run)
    return [change for _row, _source, change in filter(None, saved) if change.is_new or change.changes]


def _save(
    content_type: ContentType, record: Record, known: Known, user: User | None, errors: list[TableError]
) -> tuple[Any, Any, ItemChange] | None:
    try:
        row = _row_for(content_type, record)
        before = canonical(content_type.source_of(row)) if row.pk else None
        document = _merged(before or {content_type.key: record.key}, record.values)
        source = checked_source(content_type, lambda: content_type.parse(row, document), known)
        item_save(row, source, user=user, before=before, reason="import from a table")
    except ItemRefused as e:
        errors += [_error_of(record.row, finding) for finding in e.findings]
        return None
    return row, source, ItemChange(record.key, before is None, changes_between(before or {}, canonical(source)))


def _row_for(content_type: ContentType, record: Record) -> Any:
    """The row of a record, or a new one; ItemRefused for one that cannot be edited here."""
    row: Any = content_type.model._default_manager.filter(**{content_type.key: record.key}).first()
    if row is None:
        return content_type.new_row(record.key, record.values)  # type: ignore[misc]
    parent = getattr(row, PARENT, None)
    if PARENT in record.values and record.values[PARENT] != (parent.slug if parent else ""):
        raise ItemRefused([Finding("parent", PARENT, "an item cannot be moved to another parent")])
    if is_retired(row):
        raise ItemRefused([Finding("retired", content_type.key, "this item is retired")])
    return row


def _merged(document: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The document with the values that a record names; emptied ones are left to the schema's defaults."""
    merged = dict(document)
    for name, value in values.items():
        if _is_text(value) and _is_text(merged.get(name, {})):
            merged[name] = {**merged.get(name, {}), **value}
        else:
            merged[name] = value
    return {name: value for name, value in merged.items() if name != PARENT and not _is_empty(value)}


def _is_text(value: Any) -> bool:
    return isinstance(value, dict) and set(value) <= set(LANGUAGES)


def _is_empty(value: Any) -> bool:
    return value in ("", []) or (_is_text(value) and not any(value.values()))


def _error_of(row: int, finding: Finding) -> TableError:
    name = finding.place.split(".")[0]
    column = f"{name}_{finding.language}" if finding.language and "." not in finding.place else name
    return TableError(row, column, finding.message)
