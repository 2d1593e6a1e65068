"""Whether this worker was told to stop, known to all its processes.

The main process leaves a file with its host and number in the name; its pool processes, which supervise the runs, look
for it. A file, because a pool process may be forked or started afresh, and may be waiting for anything when the signal
comes.
"""

import os
import socket
from pathlib import Path

from billiard.process import current_process
from django.conf import settings


def _sign(main_process: int) -> Path:
    folder: Path = settings.DATA_DIR / "workers"
    return folder / f"{socket.gethostname()}-{main_process}.stopping"  # containers may share the folder


def main_process() -> int:
    """Of the worker that this process belongs to."""
    return os.getpid() if current_process().name == "MainProcess" else os.getppid()


def announce_stop() -> None:
    """Said by the main process."""
    sign = _sign(os.getpid())
    sign.parent.mkdir(exist_ok=True)
    sign.touch()


def withdraw_stop() -> None:
    """Said by the main process when it starts and ends: its number may be an earlier one's."""
    _sign(os.getpid()).unlink(missing_ok=True)


def is_stopping() -> bool:
    return _sign(main_process()).exists()
