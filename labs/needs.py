"""Whether a machine has what a run needs."""

from collections.abc import Sequence
from typing import Any

# What a machine may lack, the first thing that is asked for first.
LACKS = ("no-gpu", "no-gpu-memory", "no-memory")


def lack(needs: dict[str, Any], *, memory_mb: int, gpus: Sequence[dict[str, Any]]) -> str:
    """What a machine has too little of for a run with these needs, as a code of labs.reasons; empty when it fits."""
    if needs.get("gpu") and not gpus:
        return "no-gpu"
    if needs.get("gpu_memory_mb", 0) > max((gpu["memory_mb"] for gpu in gpus), default=0):
        return "no-gpu-memory"
    return "no-memory" if needs.get("memory_mb", 0) > memory_mb else ""
