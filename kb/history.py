"""The history of edited items: one version each time an item changes, holding all that its content file would say.

A version is recorded when an item is saved as a whole (kb.editing.versions), not when one of its rows is: a question
changes together with its rubric and choices, and computed columns (a verdict) are no edit.
"""

from typing import Any

from django.db import models
from simple_history.models import HistoricalRecords

from kb.fields import OrderedJSONField


class ItemVersion(models.Model):
    """What a version holds besides who made it, when and why: the item as plain data (kb.content.writer.canonical)."""

    document = OrderedJSONField(default=dict)

    class Meta:
        abstract = True


class ItemHistory(HistoricalRecords):
    """django-simple-history with documents instead of columns. A deletion is recorded by itself, all else is not."""

    IDENTITY = ("id", "slug", "key")

    def __init__(self) -> None:
        super().__init__(bases=[ItemVersion])

    def fields_included(self, model: Any) -> list[Any]:
        return [field for field in model._meta.fields if field.name in self.IDENTITY]

    def post_save(self, instance: models.Model, created: bool, using: str | None = None, **kwargs: Any) -> None:
        pass

    def post_delete(self, instance: models.Model, using: str | None = None, **kwargs: Any) -> None:
        from kb.content.registry import type_of
        from kb.search import refresh_index

        super().post_delete(instance, using=using, **kwargs)
        content_type = type_of(instance)
        refresh_index(content_type.kind, [getattr(instance, content_type.key)])
