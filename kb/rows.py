"""Rows of a model by SQL of our own, for what every page waits for.

To compile a queryset takes ten times as long as SQLite needs to answer it, and `Model.objects.raw` spends nearly as
long on which column is what. Here that is worked out once a process.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models import Model

Row = TypeVar("Row", bound=Model)


class Columns:
    """Columns of one model, or those of these names: how they are selected, and how their values become Python's."""

    def __init__(self, model: type[Model], names: Sequence[str]) -> None:
        table = model._meta.db_table
        fields = [field for field in model._meta.concrete_fields if not names or field.attname in names]
        # One that is never opened: what is kept for all threads must not keep the connection of one of them.
        self.connection = connections.create_connection(DEFAULT_DB_ALIAS)
        compiler = model._base_manager.all().query.get_compiler(connection=self.connection)
        self.names = [field.attname for field in fields]
        self.converters = compiler.get_converters([field.get_col(table) for field in fields])
        listed = ", ".join(f"{table}.{field.column}" for field in fields)
        self.select = f"SELECT {listed} FROM {table}"  # noqa: S608 (names of columns)

    def converted(self, row: Sequence[Any]) -> list[Any]:
        values = list(row)
        for place, (converters, column) in self.converters.items():
            for convert in converters:
                values[place] = convert(values[place], column, self.connection)
        return values


_columns = cache(Columns)


def read(model: type[Row], clauses: str, params: Sequence[Any], *, only: tuple[str, ...] = ()) -> list[Row]:
    """What `clauses` (all that follows `FROM table`) choose; with `only`, the other columns are deferred."""
    columns = _columns(model, only)
    with connection.cursor() as cursor:
        cursor.execute(f"{columns.select} {clauses}", params)
        rows = cursor.fetchall()
    return [model.from_db(DEFAULT_DB_ALIAS, columns.names, columns.converted(row)) for row in rows]


def read_one(model: type[Row], pk: object) -> Row:
    """IndexError where there is none."""
    return read(model, f"WHERE {model._meta.pk.column} = %s", [pk])[0]
