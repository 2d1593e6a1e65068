"""What the database computes, so that Python need not parse a date for each of 100,000 cards."""

from typing import Any

from django.db.models import FloatField, Func

# The Julian day of 1970-01-01 00:00 UTC.
EPOCH = 2440587.5


class DayNumber(Func):
    """A moment as days since 1970-01-01 00:00 UTC, with their fraction."""

    arity = 1
    output_field = FloatField()
    template = "CAST(EXTRACT(EPOCH FROM %(expressions)s) / 86400.0 AS double precision)"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Django's own functions on dates call Python for every row.
        return self.as_sql(compiler, connection, template=f"(julianday(%(expressions)s) - {EPOCH})", **context)
