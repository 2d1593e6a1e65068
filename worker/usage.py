"""How much memory a process group and how much disk a folder takes. Memory is known on Linux only."""

import os
from contextlib import suppress
from pathlib import Path

MB = 2**20

PROC = Path("/proc")
# What the processes themselves wrote; pages of mapped files (weights) can be dropped at any time and do not count.
COUNTED = ("RssAnon:", "RssShmem:")


def group_memory(group: int) -> int:
    """Bytes that the processes of a group hold together; 0 where /proc does not say."""
    return sum(process_memory(pid) for pid in _processes(group))


def _processes(group: int) -> list[str]:
    found = []
    for pid in os.listdir(PROC) if PROC.is_dir() else []:
        if pid.isdigit():
            with suppress(OSError, ValueError):
                # "pid (name) state ppid pgrp …", where the name may hold anything.
                if int((PROC / pid / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                    found.append(pid)
    return found


def process_memory(pid: str = "self") -> int:
    """Bytes that one process holds; 0 where /proc does not say."""
    try:
        lines = (PROC / pid / "status").read_text().splitlines()
    except OSError:  # it has just ended, or there is no /proc
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(COUNTED))


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder that may change meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total
