"""Columns that Django does not have."""

from typing import Any

from django.db import models
from psycopg.types.json import Json, Jsonb


class OrderedJSONField(models.JSONField):
    """JSON whose keys keep their order. PostgreSQL's jsonb sorts them, but a value may be computed from the one before,
    and what is exported has to read as it was written.
    """

    def db_type(self, connection: Any) -> str | None:
        return "json" if connection.vendor == "postgresql" else super().db_type(connection)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        adapted = super().get_db_prep_value(value, connection, prepared)
        return Json(adapted.obj, adapted.dumps) if isinstance(adapted, Jsonb) else adapted

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """Psycopg parses json by itself, unlike the jsonb that Django has taught it to leave alone."""
        return super().from_db_value(value, expression, connection) if isinstance(value, str) else value
