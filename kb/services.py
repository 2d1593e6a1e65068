"""Writes of the knowledge base: importing content."""

from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from kb.content.files import Tree, read_tree, tree_digest
from kb.content.registry import after_import, content_types
from kb.models import ContentImport


class ContentRefused(ValueError):
    """The content has errors; nothing was written."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        super().__init__("\n".join(str(problem) for problem in tree.errors()))


@dataclass(frozen=True)
class ImportReport:
    counts: dict[str, int]
    changed: bool


def content_import(*, folder: Path, dry_run: bool = False, force: bool = False) -> ImportReport:
    """Bring the database in line with the files, in one transaction. ContentRefused when the files have errors.

    Files that are exactly those of the last import are not read again, unless `force` is given.
    """
    digest = tree_digest(folder)
    last = ContentImport.objects.order_by("-pk").first()
    if last and last.digest == digest and not force:
        return ImportReport(last.counts, changed=False)
    tree = read_tree(folder)
    if tree.errors():
        raise ContentRefused(tree)
    counts = {name: len(items) for name, items in tree.items.items()}
    with transaction.atomic():
        for content_type in content_types():
            content_type.save([item.source for item in tree.items[content_type.name]])
        for hook in after_import:
            hook(folder)
        ContentImport.objects.create(digest=digest, counts=counts)
        transaction.set_rollback(dry_run)
    return ImportReport(counts, changed=True)
