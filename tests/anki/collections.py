"""A real Anki collection for tests: packages in, packages out."""

from pathlib import Path

from anki.collection import (
    Collection,
    ExportAnkiPackageOptions,
    ImportAnkiPackageOptions,
    ImportAnkiPackageRequest,
)
from anki.notes import Note


def anki_import(collection: Collection, content: bytes, folder: Path, *, with_scheduling: bool = False) -> object:
    """Import a package as Anki's own dialog does; its log of what was new, updated and so on."""
    path = folder / "in.apkg"
    path.write_bytes(content)
    options = ImportAnkiPackageOptions(with_scheduling=with_scheduling)
    request = ImportAnkiPackageRequest(package_path=str(path), options=options)
    return collection.import_anki_package(request).log


def anki_export(collection: Collection, folder: Path, *, is_legacy: bool = False) -> Path:
    """The whole collection as a package, in the newest form or in the one before."""
    path = folder / "out.apkg"
    path.unlink(missing_ok=True)
    options = ExportAnkiPackageOptions(with_scheduling=True, legacy=is_legacy)
    collection.export_anki_package(out_path=str(path), options=options, limit=None)
    return path


def add_note(collection: Collection, kind: str, fields: list[str], *, deck: str = "Own::Deck", tags: str = "") -> Note:
    note = collection.new_note(collection.models.by_name(kind))
    note.fields = fields
    note.tags = tags.split()
    collection.add_note(note, collection.decks.id(deck))
    return note


def notes_of(collection: Collection) -> list[Note]:
    return [collection.get_note(note_id) for note_id in collection.find_notes("")]
