"""An `.apkg`: a zip with an SQLite database in it. Nothing is unpacked under a name that the file chose."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import zstandard
from django.utils.translation import gettext as _

from quiz.anki.limits import MAX_DIRECTORY, MAX_ENTRIES, MAX_UNPACKED, Refused

# Newest first: a package in the newest form carries an old database too, which only asks for a newer Anki.
COLLECTIONS = ("collection.anki21b", "collection.anki21", "collection.anki2")

END_OF_DIRECTORY = struct.Struct("<4s4H2LH")
ZIP64_LOCATOR = b"PK\x06\x07"
SYMLINK = 0o120000
CHUNK = 64 * 1024
# Memory that zstd may take; Anki's own packages need 2 MB.
MAX_WINDOW = 32 * 1024 * 1024

BROKEN = (zipfile.BadZipFile, zlib.error, zstandard.ZstdError, EOFError, NotImplementedError, RuntimeError, OSError)


def unpack_collection(package: BinaryIO, target: Path) -> None:
    """Write the package's database to `target`. Refused for what is no such package, or too large a one."""
    _check_directory(package)
    try:
        with zipfile.ZipFile(package) as archive:
            entry = _collection_entry(archive.infolist())
            with archive.open(entry) as packed, target.open("wb") as out:
                _copy(zstd_reader(packed) if entry.filename.endswith("b") else packed, out, entry.filename)
    except (*BROKEN, ValueError) as e:
        if isinstance(e, Refused):
            raise
        raise Refused(_("The package is damaged: %(reason)s") % {"reason": e}) from e


def _check_directory(package: BinaryIO) -> None:
    """How large the directory is, before anything reads it: a million entries take a gigabyte of memory."""
    size = package.seek(0, 2)
    package.seek(max(0, size - END_OF_DIRECTORY.size - 20))
    tail = package.read()
    package.seek(0)
    if len(tail) < END_OF_DIRECTORY.size or tail[-22:-18] != b"PK\x05\x06":
        raise Refused(_("This is not a whole .apkg file: it does not end like a zip."))
    _signature, _disk, _start, _here, entries, length, _offset, _comment = END_OF_DIRECTORY.unpack(tail[-22:])
    if entries > MAX_ENTRIES or length > MAX_DIRECTORY or tail.startswith(ZIP64_LOCATOR):
        raise Refused(_("The package has too many files; allowed: %(most)s.") % {"most": MAX_ENTRIES})


def _collection_entry(entries: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    if len(entries) > MAX_ENTRIES:
        raise Refused(_("The package has too many files; allowed: %(most)s.") % {"most": MAX_ENTRIES})
    for entry in entries:
        _check_entry(entry)
    by_name = {entry.filename: entry for entry in entries}
    found = next((by_name[name] for name in COLLECTIONS if name in by_name), None)
    if found is None:
        wanted = ", ".join(COLLECTIONS)
        raise Refused(
            _("The package has no collection in it; one of these is needed: %(wanted)s.") % {"wanted": wanted}
        )
    return found


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """Anki names its files plainly; whoever wrote another name meant harm."""
    parts = entry.filename.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or parts[0].endswith(":"):
        message = _("The entry %(name)s leads out of the package; only plain names are allowed.")
        raise Refused(message % {"name": repr(entry.filename[:80])})
    if (entry.external_attr >> 16) & 0o170000 == SYMLINK:
        message = _("The entry %(name)s is a symbolic link; only files are allowed.")
        raise Refused(message % {"name": repr(entry.filename[:80])})


def zstd_reader(packed: object) -> BinaryIO:
    return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(packed)  # type: ignore[arg-type]


def _copy(source: object, out: BinaryIO, name: str) -> None:
    """Counted while it is read: what a header says of the size need not be true."""
    written = 0
    while chunk := source.read(CHUNK):  # type: ignore[attr-defined]
        written += len(chunk)
        if written > MAX_UNPACKED:
            values = {"name": name, "most": MAX_UNPACKED // 2**20}
            raise Refused(_("%(name)s unpacks to more than %(most)s MB, which is what is allowed.") % values)
        out.write(chunk)
