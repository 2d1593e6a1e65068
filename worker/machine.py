"""What this machine has, and what of it a run gets. Imports no torch: a child process asks it for the GPUs, once."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from billiard.process import current_process

from labs import services
from labs.models import Run
from worker.environment import ROOT, memory_bytes, versions

logger = logging.getLogger(__name__)

# Without one of these there is no GPU, and torch need not be asked: NVIDIA, AMD, Windows' Linux.
DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))
PATIENCE = 120.0  # seconds: torch on a cold disk

Gpu = dict[str, Any]


def has_driver() -> bool:
    """Whether there may be a GPU at all."""
    return any(driver.exists() for driver in DRIVERS)


@cache
def gpus() -> Sequence[Gpu]:
    """The GPUs of this machine that its worker may use."""
    if not has_driver():
        return ()
    command = [sys.executable, "-m", "worker.gpus"]
    try:
        asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE)
        return tuple(json.loads(asked.stdout))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        logger.warning("Could not ask for the GPUs: %s", error)
        return ()


def memory_mb() -> int:
    return memory_bytes() // 2**20


# --- runs side by side ------------------------------------------------------------------------------------------------


def pool_size(queues: Collection[str], gpus: Sequence[Gpu]) -> int:
    """How many runs a worker takes at a time: one a GPU; one on the CPU, because it uses every core."""
    return max(1, len(gpus)) if Run.GPU in queues else 1


def place() -> int:
    """The number of this pool process among those of its worker; one that replaces another takes over its number."""
    return int(getattr(current_process(), "index", 0))


def gpus_at(place: int, gpus: Sequence[Gpu]) -> list[Gpu]:
    """The GPU of one pool process."""
    return [gpus[place % len(gpus)]] if gpus else []


def own_gpus() -> list[Gpu]:
    """The GPU of this pool process."""
    return gpus_at(place(), gpus())


def device_at(place: int, gpus: Sequence[Gpu], visible: str | None) -> str:
    """CUDA_VISIBLE_DEVICES for the runs of one pool process; `visible` is what the worker itself was given."""
    if not gpus:
        return ""
    number = place % len(gpus)
    return visible.split(",")[number].strip() if visible else str(number)


def device_for(run: Run) -> str:
    """CUDA_VISIBLE_DEVICES for a run in this process: none for a run of the CPU's queue, which needs no GPU."""
    if run.queue != Run.GPU:
        return ""
    return device_at(place(), gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))


# --- telling ----------------------------------------------------------------------------------------------------------


class Announcer:
    """Tells the site what this worker has, and again and again that it is there."""

    def __init__(self, name: str, queues: Collection[str]) -> None:
        self.name, self.queues = name, sorted(queues)
        self._is_known = False

    def announce(self) -> None:
        if not (self._is_known and services.machine_seen(name=self.name)):
            services.machine_announce(
                name=self.name,
                host=socket.gethostname(),
                queues=self.queues,
                cores=len(os.sched_getaffinity(0)),
                memory_mb=memory_mb(),
                gpus=list(gpus()) if Run.GPU in self.queues else [],
                versions=versions(),
            )
            self._is_known = True
