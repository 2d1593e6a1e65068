"""Writes of the knowledge base: importing content, and writing it back to files.

An item is *edited here* when the database no longer holds what the last import or export left there. Such an edit is
never discarded silently: where the file says something else, somebody has to decide.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from django.db import transaction

from kb.content.files import Tree, read_tree, tree_digest
from kb.content.registry import ContentType, after_import, code_versions, content_types
from kb.content.writer import canonical, files_of, write_files
from kb.editing.versions import digest_of, versions_record
from kb.models import ContentImport, SyncedItem
from kb.renderings import renderings_rebuild
from kb.schema import Source
from kb.search import rebuild_index

# Whose version of an item counts where both were edited: the files', or this site's.
Decision = Literal["", "theirs", "ours"]


class ContentRefused(ValueError):
    """The content has errors; nothing was written."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        super().__init__("\n".join(str(problem) for problem in tree.errors()))


class ContentConflict(ValueError):
    """Items were edited both here and in the files; nothing was written."""

    def __init__(self, items: list[str]) -> None:
        self.items = items
        super().__init__(
            "Edited both on this site and in the files: "
            + ", ".join(items)
            + ". Export first and merge, or decide with --theirs (the files) or --ours (this site)."
        )


@dataclass
class ImportReport:
    counts: dict[str, int]
    changed: bool
    kept: list[str] = field(default_factory=list)  # edited here and left as they are
    removed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pair:
    """One item as the files have it (`theirs`) and as this site has it (`here`)."""

    kind: str
    key: str
    theirs: Any
    here: Any
    synced: str  # the digest on which both last agreed; empty for an item that only one of them knew

    @property
    def is_edited_here(self) -> bool:
        return self.here is not None and digest_of(self.here) != self.synced

    @property
    def is_edited_there(self) -> bool:
        """Changed in the files, new in them, or removed from them."""
        return (digest_of(self.theirs) if self.theirs else "") != self.synced

    @property
    def is_conflict(self) -> bool:
        if not (self.is_edited_here and self.is_edited_there):
            return False
        return self.theirs is None or digest_of(self.theirs) != digest_of(self.here)


def content_import(
    *, folder: Path, dry_run: bool = False, force: bool = False, decision: Decision = ""
) -> ImportReport:
    """Bring the database in line with the files, in one transaction; then render what is new.

    What was edited here only is kept. ContentRefused when the files have errors, ContentConflict when an item was
    edited on both sides and `decision` is empty. Files that are exactly those of the last import are not read again,
    unless `force` is given.
    """
    digest = _state_digest(folder)
    last = ContentImport.objects.order_by("-pk").first()
    if last and last.digest == digest and not force:
        return ImportReport(last.counts, changed=False)
    tree = read_tree(folder)
    if tree.errors():
        raise ContentRefused(tree)
    with transaction.atomic():
        pairs = _pairs(tree)
        conflicts = [pair for pair in pairs if pair.is_conflict]
        if conflicts and not decision:
            raise ContentConflict([f"{pair.kind}/{pair.key}" for pair in conflicts])
        kept = [pair for pair in pairs if pair.is_edited_here and not pair.is_edited_there]
        kept += conflicts if decision == "ours" else []
        removed = _write(pairs, kept)
        for hook in after_import:
            hook(folder)
        rebuild_index()
        transaction.set_rollback(dry_run)
    counts = {name: len(items) for name, items in tree.items.items()}
    if not dry_run:
        renderings_rebuild()
        ContentImport.objects.create(digest=digest, counts=counts)
    return ImportReport(counts, changed=True, kept=[f"{p.kind}/{p.key}" for p in kept], removed=removed)


def _state_digest(folder: Path) -> str:
    """Of the files, and of the code that gives them their meaning (formulas, versions of labs)."""
    parts = [tree_digest(folder), *(version() for version in code_versions)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _pairs(tree: Tree) -> list[Pair]:
    """Every item that the files or the database have, in the files' order."""
    synced = {(row.kind, row.key): row.digest for row in SyncedItem.objects.all()}
    pairs = []
    for content_type in content_types():
        kind = content_type.name
        theirs = {getattr(item.source, content_type.key): item.source for item in tree.items[kind]}
        here = {getattr(source, content_type.key): source for source in content_type.load()}
        pairs += [Pair(kind, key, theirs.get(key), here.get(key), synced.get((kind, key), "")) for key in theirs | here]
    return pairs


def _write(pairs: list[Pair], kept: list[Pair]) -> list[str]:
    """Save what the files have (this site's version for those kept), remove what they no longer have."""
    gone = [pair for pair in pairs if pair.theirs is None and pair.synced and pair not in kept]
    for content_type in content_types():
        mine = [pair for pair in pairs if pair.kind == content_type.name and pair.theirs is not None]
        _save(content_type, mine, kept)
    for content_type in reversed(content_types()):
        content_type.remove([pair.key for pair in gone if pair.kind == content_type.name])
    for pair in gone:
        SyncedItem.objects.filter(kind=pair.kind, key=pair.key).delete()
    agreed = [pair for pair in pairs if pair.theirs is not None and pair not in kept]
    _remember((pair.kind, pair.key, pair.theirs) for pair in agreed)
    return [f"{pair.kind}/{pair.key}" for pair in gone]


def _save(content_type: ContentType, pairs: list[Pair], kept: list[Pair]) -> None:
    """Save the items in which files and database differ, and record a version of each that changed."""
    changed = [pair for pair in pairs if pair not in kept and pair.theirs != pair.here]
    if content_type.has_order:
        content_type.save([pair.here if pair in kept else pair.theirs for pair in pairs])
    else:
        content_type.save([pair.theirs for pair in changed])
    before = {key: part for pair in changed if pair.here for key, part in _parts(content_type, pair.here)}
    after = {key: part for pair in changed for key, part in _parts(content_type, pair.theirs)}
    rows: dict[str, Any] = content_type.model._default_manager.in_bulk(list(after), field_name=content_type.key)
    edits = [(rows[key], canonical(s), key not in before) for key, s in after.items() if s != before.get(key)]
    versions_record(edits, reason="import")


def _parts(content_type: ContentType, source: Source) -> Iterator[tuple[str, Source]]:
    """The pieces of an item that are edited by themselves, each with its key."""
    return ((getattr(part, content_type.key), part) for part in content_type.parts(source))


def _remember(agreed: Iterable[tuple[str, str, Source]]) -> None:
    """Note the version of each item on which files and database agree."""
    rows = [SyncedItem(kind=kind, key=key, digest=digest_of(source)) for kind, key, source in agreed]
    SyncedItem.objects.bulk_create(rows, update_conflicts=True, unique_fields=["kind", "key"], update_fields=["digest"])


def content_export(*, folder: Path) -> list[str]:
    """Write the database to files; returns the names of those that changed. What is exported counts as agreed."""
    files: dict[str, str] = {}
    with transaction.atomic():
        for content_type in content_types():
            sources = content_type.load()
            files |= files_of(content_type, sources)
            _remember((content_type.name, getattr(source, content_type.key), source) for source in sources)
    return write_files(folder, files)
