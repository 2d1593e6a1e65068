import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection


def median_ms(work: Callable[[], object], *, rounds: int, before: Callable[[], object] = lambda: None) -> float:
    """Median time of the work in milliseconds, after one round that is not counted."""
    times = []
    for _ in range(rounds + 1):
        before()
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times[1:])


@contextmanager
def temporary_database() -> Iterator[None]:
    """A migrated database of its own, so that a benchmark never touches the site's; on SQLite a file as well."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(settings.DATA_DIR / "bench.sqlite3")
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
