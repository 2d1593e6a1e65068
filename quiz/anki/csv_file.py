"""Writing a deck as a table."""

import csv
import io

from quiz.anki.notes import OWN_FIELDS, BankNote

# A spreadsheet would run what begins with one of these.
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
BOM = "\ufeff"
OWN_COLUMNS = {"Front": "front_html", "Back": "back_html"}


def csv_bytes(notes: list[BankNote], *, with_bom: bool = True) -> bytes:
    """A line a note: guid, deck, tags, then its fields as HTML. Cells that look like formulas get a `'` in front."""
    names = list(notes[0].fields) if notes else OWN_FIELDS
    target = io.StringIO(newline="")
    writer = csv.writer(target)
    writer.writerow(["guid", "deck", "tags", *(OWN_COLUMNS.get(name, name) for name in names)])
    for note in notes:
        cells = [note.guid, note.deck, " ".join(note.tags), *note.fields.values()]
        writer.writerow([safe_cell(cell) for cell in cells])
    return ((BOM if with_bom else "") + target.getvalue()).encode()


def safe_cell(text: str) -> str:
    """Also where it begins with a quote of that kind already, so that reading takes off exactly what was put on."""
    return f"'{text}" if text.startswith(DANGEROUS) or text.lstrip("'").startswith(DANGEROUS) else text
