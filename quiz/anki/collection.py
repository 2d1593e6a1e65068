"""Reading an Anki collection: notes with their types, decks and cards. The database is not trusted in anything."""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _
from pydantic import BaseModel, TypeAdapter, ValidationError

from quiz.anki.limits import MAX_CARDS, MAX_DECKS, MAX_NOTE_TYPES, MAX_NOTES, MAX_SECONDS, MAX_VALUE, Refused
from quiz.anki.protobuf import number_at, text_at

SEPARATOR = "\x1f"  # between the fields of a note, and between the parts of a deck's name
STEPS = 20_000  # of SQLite's machine between two looks at the clock


@dataclass(frozen=True)
class Template:
    front: str
    back: str


@dataclass(frozen=True)
class NoteType:
    name: str
    fields: list[str]
    templates: list[Template]
    is_cloze: bool


@dataclass(frozen=True)
class Note:
    """A note as it was written. `cards` are (number of the template or cloze, deck)."""

    guid: str
    note_type: NoteType
    fields: dict[str, str]
    tags: list[str]
    cards: list[tuple[int, str]]


def read_notes(path: Path) -> Iterator[Note]:
    """All notes of a collection. Refused when it is damaged, too large, or takes too long."""
    try:
        with closing(_connect(path)) as database:
            yield from _notes(database)
    except (sqlite3.Error, OverflowError) as e:
        raise Refused(_("The collection is damaged: %(reason)s") % {"reason": e}) from e
    except (ValidationError, KeyError, TypeError, ValueError) as e:
        if isinstance(e, Refused):
            raise
        raise Refused(_("The collection's note types or decks cannot be read: %(reason)s") % {"reason": e}) from e


def _connect(path: Path) -> sqlite3.Connection:
    """Read-only, and unable to call, attach or run for long, whatever the schema says."""
    database = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    database.text_factory = lambda raw: raw.decode("utf-8", "replace")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
    database.create_collation("unicase", lambda a, b: (a.casefold() > b.casefold()) - (a.casefold() < b.casefold()))
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON", "mmap_size=0"):
        database.execute(f"PRAGMA {pragma}")
    deadline = time.thread_time() + MAX_SECONDS
    database.set_progress_handler(lambda: time.thread_time() > deadline, STEPS)
    return database


def _tables(database: sqlite3.Connection) -> set[str]:
    """The plain tables; a view or a virtual table is somebody's program."""
    rows = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' LIMIT 1000")
    return {str(name) for name, sql in rows if not str(sql).upper().startswith("CREATE VIRTUAL")}


def _notes(database: sqlite3.Connection) -> Iterator[Note]:
    tables = _tables(database)
    if missing := {"notes", "cards", "col"} - tables:
        raise Refused(_("The collection has no table %(names)s.") % {"names": ", ".join(sorted(missing))})
    is_new = {"notetypes", "fields", "templates", "decks"} <= tables
    types = _note_types(database) if is_new else _legacy_note_types(database)
    decks = _decks(database) if is_new else _legacy_decks(database)
    cards = _cards(database, decks)
    rows = _limited(database, "SELECT id, guid, mid, tags, flds FROM notes ORDER BY id", MAX_NOTES, _("notes"))
    for note_id, guid, type_id, tags, fields in rows:
        note_type = types.get(type_id) or NoteType("?", [], [], False)
        values = str(fields).split(SEPARATOR)
        named = dict(zip(note_type.fields, values, strict=False))
        yield Note(str(guid), note_type, named, str(tags).split(), cards.get(note_id, []))


def _limited(database: sqlite3.Connection, query: str, most: int, what: str) -> list[Any]:
    rows = database.execute(query).fetchmany(most + 1)
    if len(rows) > most:
        raise Refused(_("The collection has more %(what)s than the %(most)s allowed.") % {"what": what, "most": most})
    return rows


def _cards(database: sqlite3.Connection, decks: dict[int, str]) -> dict[int, list[tuple[int, str]]]:
    """By note. A card in a filtered deck belongs to its home deck."""
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    query = "SELECT nid, ord, CASE WHEN odid THEN odid ELSE did END FROM cards ORDER BY nid, ord"
    for note_id, order, deck_id in _limited(database, query, MAX_CARDS, _("cards")):
        found[note_id].append((int(order), decks.get(deck_id, "")))
    return found


# --- Anki 2.1.28 and newer: tables ------------------------------------------------------------------------------------


def _note_types(database: sqlite3.Connection) -> dict[int, NoteType]:
    fields: dict[int, list[str]] = defaultdict(list)
    templates: dict[int, list[Template]] = defaultdict(list)
    most = 20 * MAX_NOTE_TYPES
    for type_id, name in _limited(database, "SELECT ntid, name FROM fields ORDER BY ntid, ord", most, _("fields")):
        fields[type_id].append(str(name))
    query = "SELECT ntid, config FROM templates ORDER BY ntid, ord"
    for type_id, config in _limited(database, query, most, _("templates")):
        templates[type_id].append(Template(text_at(config, 1), text_at(config, 2)))
    rows = _limited(database, "SELECT id, name, config FROM notetypes", MAX_NOTE_TYPES, _("note types"))
    return {
        type_id: NoteType(str(name), fields[type_id], templates[type_id], number_at(config, 1) == 1)
        for type_id, name, config in rows
    }


def _decks(database: sqlite3.Connection) -> dict[int, str]:
    rows = _limited(database, "SELECT id, name FROM decks", MAX_DECKS, _("decks"))
    return {deck_id: str(name).replace(SEPARATOR, "::") for deck_id, name in rows}


# --- before: JSON in the one row of `col` -----------------------------------------------------------------------------


class _Named(BaseModel):
    name: str


class _Template(_Named):
    qfmt: str
    afmt: str


class _NoteType(_Named):
    type: int = 0
    flds: list[_Named]
    tmpls: list[_Template]


def _legacy(database: sqlite3.Connection, column: str, kind: type, most: int, what: str) -> dict[int, Any]:
    row = database.execute(f"SELECT {column} FROM col LIMIT 1").fetchone()  # noqa: S608 (our own two names)
    found = TypeAdapter(dict[int, kind]).validate_json(row[0] if row else "{}")  # type: ignore[valid-type]
    if len(found) > most:
        raise Refused(_("The collection has more %(what)s than the %(most)s allowed.") % {"what": what, "most": most})
    return found


def _legacy_note_types(database: sqlite3.Connection) -> dict[int, NoteType]:
    return {
        type_id: NoteType(
            model.name, [f.name for f in model.flds], [Template(t.qfmt, t.afmt) for t in model.tmpls], model.type == 1
        )
        for type_id, model in _legacy(database, "models", _NoteType, MAX_NOTE_TYPES, _("note types")).items()
    }


def _legacy_decks(database: sqlite3.Connection) -> dict[int, str]:
    decks = _legacy(database, "decks", _Named, MAX_DECKS, _("decks"))
    return {deck_id: deck.name for deck_id, deck in decks.items()}
