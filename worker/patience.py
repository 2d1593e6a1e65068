"""Writing to a database that may be away for a while.

That does not end a run: nobody else can be given it meanwhile, and what the run says is kept until it can be written.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

from worker import stopping

T = TypeVar("T")

PATIENCE = 600.0  # after this many seconds a run is left to whoever finds it
PAUSE = 0.5  # between two attempts

DATABASE_AWAY = (OperationalError, InterfaceError)

logger = logging.getLogger(__name__)


def insist(write: Callable[[], T]) -> T:
    """Write as soon as the database can be reached."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return write()
        except DATABASE_AWAY as error:
            logger.warning("The database is away: %s", error)
            connection.close()
            if time.monotonic() > deadline or stopping.is_stopping():
                raise
        time.sleep(PAUSE)
