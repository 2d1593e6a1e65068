import statistics
import time
from collections.abc import Callable


def median_ms(work: Callable[[], object], *, rounds: int, before: Callable[[], object] = lambda: None) -> float:
    """Median time of the work in milliseconds, after one round that is not counted."""
    times = []
    for _ in range(rounds + 1):
        before()
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times[1:])
