"""Writes of the editors: one function an action, each one transaction."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Model

from kb.content.registry import after_edit, type_of
from kb.content.writer import canonical
from kb.editing.checks import checked_source
from kb.editing.versions import document_of, version_record, versions_record


@transaction.atomic
def item_save(row: Any, source: Any, *, user: User | None, before: dict[str, Any] | None, reason: str = "") -> None:
    """Write a checked source to its row (`before` is what it held, None for a new one) and note the version.

    An item that has no history yet (it was imported by an older release) gets what it held as its first version.
    """
    if canonical(source) == before:
        return
    is_new = row.pk is None
    if before and not row.history.exists():
        versions_record([(row, before, True)], reason="import")
    type_of(row).apply(row, source)
    version_record(row, user=user, reason=reason, is_new=is_new)
    item_follow(row)


def item_follow(row: Model) -> None:
    """Bring up to date what depends on an item: links, verdicts, the search index."""
    for hook in after_edit:
        hook(row)


@transaction.atomic
def item_revert(row: Any, version: Any, *, user: User) -> None:
    """Make an item what it was in a version. ItemRefused when that no longer fits what is around it."""
    content_type = type_of(row)
    source = checked_source(content_type, lambda: content_type.parse(row, version.document))
    reason = f"reverted to {version.history_date:%Y-%m-%d %H:%M}"
    item_save(row, source, user=user, before=document_of(row), reason=reason)


@transaction.atomic
def status_set(rows: Iterable[Any], status: str, *, user: User) -> int:
    """Move items to another status; returns how many were in another one. Follow-ups go with their root."""
    changed = [row for row in rows if row.status != status]
    for row in changed:
        before = document_of(row)
        source = type_of(row).source_of(row).model_copy(update={"status": status})
        item_save(row, source, user=user, before=before, reason=f"status: {status}")
    return len(changed)
