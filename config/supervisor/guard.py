"""Ends what a supervisor leaves behind when it dies without stopping its services (kill -9, out of memory).

Started as a script, without Django, by the supervisor. It reads "+<pid>" and "-<pid>" lines, one for each process group
that begins or ends, and acts when the pipe closes, which the kernel does however the supervisor dies. It also holds the
lock of the data folder until then, so that nobody starts a second broker on files that are still in use.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE = 5.0  # seconds between asking and killing
STEP = 0.05


def read_groups(lines: Iterable[str]) -> list[int]:
    """Process groups that began and did not end, in the order in which they began."""
    groups: list[int] = []
    for line in lines:
        pid = int(line[1:])
        if line[0] == "+":
            groups.append(pid)
        else:
            groups.remove(pid)
    return groups


def signal_group(group: int, number: int) -> bool:
    """Whether the group still has a process that took the signal."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        return False
    return True


def end_groups(groups: list[int]) -> None:
    deadline = time.monotonic() + GRACE
    for group in groups:
        signal_group(group, signal.SIGTERM)
    while time.monotonic() < deadline and any(signal_group(group, 0) for group in groups):
        time.sleep(STEP)
    for group in groups:
        signal_group(group, signal.SIGKILL)


if __name__ == "__main__":
    # Ctrl-C and a closed terminal are the supervisor's business.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    end_groups(read_groups(sys.stdin)[::-1])
