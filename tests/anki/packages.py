"""Packages made by hand, as somebody who means harm would."""

import io
import json
import sqlite3
import zipfile
from contextlib import closing

MODEL = {"1": {"name": "Basic", "type": 0, "flds": [{"name": "Front"}, {"name": "Back"}]}}
MODEL["1"]["tmpls"] = [{"name": "Card 1", "qfmt": "{{Front}}", "afmt": "{{FrontSide}}<hr id=answer>{{Back}}"}]
SCHEMA = """
CREATE TABLE col (models, decks);
CREATE TABLE notes (id, guid, mid, tags, flds);
CREATE TABLE cards (nid, ord, did, odid);
"""


def collection(*notes: tuple[str, str], schema: str = SCHEMA, models: str = "", more: str = "") -> bytes:
    """A database in the old form, of (guid, fields) with `|` between fields."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(schema)
        columns = (models or json.dumps(MODEL), json.dumps({"7": {"name": "Mine"}}))
        database.execute("INSERT INTO col VALUES (?, ?)", columns)
        for n, (guid, fields) in enumerate(notes):
            row = (n, guid, 1, " a ", fields.replace("|", "\x1f"))
            if "CREATE TABLE notes" in schema:
                database.execute("INSERT INTO notes VALUES (?, ?, ?, ?, ?)", row)
            database.execute("INSERT INTO cards VALUES (?, 0, 7, 0)", (n,))
        database.executescript(more)
        database.commit()
        return database.serialize()


def package(content: bytes = b"", name: str = "collection.anki2", more: dict[str, bytes] | None = None) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        if name:
            archive.writestr(name, content)
        for other, data in (more or {}).items():
            archive.writestr(other, data)
    return target
