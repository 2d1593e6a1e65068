"""A thread in each worker's main process that looks after the runs of all workers.

It queues again what silent workers held, and rings for waiting runs when this worker has nothing to do: then their
bells were lost, with a broker or before one could be reached. Any number of minders may work at the same time, because
each of their writes is one conditional UPDATE. It also announces its own worker, as long as that lives.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable

from celery.worker import state
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from labs import services
from labs.broker import BrokerDown
from worker.folders import clear_checkpoints_of_ended_runs
from worker.machine import Announcer

logger = logging.getLogger(__name__)

# Held during a look, and while the main process forks: a pool process must not inherit a connection in mid-sentence.
lock = threading.Lock()
os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def is_idle(slots: int = 1) -> bool:
    """Whether this worker, which takes so many runs at a time, could take another message."""
    return max(len(state.reserved_requests), len(state.active_requests)) < slots


class Minder(threading.Thread):
    def __init__(self, worker: str, queues: Iterable[str], is_idle: Callable[[], bool] = is_idle) -> None:
        super().__init__(name="minder", daemon=True)
        self.queues = list(queues)
        self.announcer = Announcer(worker, self.queues)
        self.is_idle = is_idle
        self.leases = services.LeaseWatch()
        self._ended = threading.Event()

    def run(self) -> None:
        self.look()
        while not self._ended.wait(settings.RUN_LEASE_SECONDS / 5):
            self.look()

    def end(self) -> None:
        self._ended.set()

    def look(self) -> None:
        """Once; a database or a broker that is away is looked for again the next time."""
        with lock:
            try:
                services.runs_reap(self.leases)
                self.announcer.announce()
                if self.is_idle():
                    services.runs_ring_waiting(self.queues)
                clear_checkpoints_of_ended_runs()
            except (DatabaseError, InterfaceError, BrokerDown) as error:
                logger.warning("Could not look after the runs: %s: %s", type(error).__name__, error)
            finally:
                connection.close()
