"""One `manage.py up` a data folder."""

import fcntl
import os
import time
from pathlib import Path
from typing import TextIO

# How long to wait for what a killed supervisor left behind; its guard gives the services 5 s.
PATIENCE = 10.0


class DataFolderInUseError(RuntimeError):
    """Another supervisor runs on this data folder."""


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def lock_data_folder(data_dir: Path) -> TextIO:
    """The locked file, which holds the lock for as long as it (or a copy that a child inherited) is open."""
    file = (data_dir / "up.lock").open("a+")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            pid, _, url = holder.partition(" ")
            if _is_alive(pid) or time.monotonic() > deadline:
                raise DataFolderInUseError(f"{data_dir} is in use by process {pid} {url}".strip()) from None
            time.sleep(0.1)
        else:
            write_holder(file, "")
            return file


def write_holder(file: TextIO, url: str) -> None:
    """Tell who asks next which process holds the lock, and where it answers."""
    file.truncate(0)
    file.write(f"{os.getpid()} {url}".strip())
    file.flush()
