import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

T = TypeVar("T")


def median_ms(work: Callable[[], object], *, rounds: int, before: Callable[[], object] = lambda: None) -> float:
    """Median time of the work in milliseconds, after one round that is not counted."""
    times = []
    for _ in range(rounds + 1):
        before()
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times[1:])


Times = list[tuple[float, float]]


def timed(times: Times, work: Callable[[], T]) -> T:
    """Do the work; note its milliseconds by the clock on the wall and of this process alone."""
    wall, own = time.perf_counter(), time.process_time()
    done = work()
    times.append(((time.perf_counter() - wall) * 1000, (time.process_time() - own) * 1000))
    return done


def summary(times: Times, goal_ms: float | None = None) -> dict[str, float | bool]:
    """On a busy machine the wall's clock tells of the others; `cpu` is what is left of them. The goal is the p95's."""
    wall, own = (list(column) for column in zip(*times, strict=True))
    p95 = statistics.quantiles(wall, n=20)[-1]
    found: dict[str, float | bool] = {
        "median_ms": round(statistics.median(wall), 2),
        "p95_ms": round(p95, 2),
        "cpu_median_ms": round(statistics.median(own), 2),
        "cpu_p95_ms": round(statistics.quantiles(own, n=20)[-1], 2),
    }
    return found if goal_ms is None else found | {"goal_ms": goal_ms, "is_reached": p95 <= goal_ms}


def queries_of(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)


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
