"""`python -m worker.gpus` prints the GPUs that torch sees, as JSON. A process of its own: who asks loads no torch."""

import json
import sys
from typing import Any


def gpus() -> list[dict[str, Any]]:
    """One object a GPU, in the order of their numbers."""
    import torch

    return [describe(torch.cuda.get_device_properties(number)) for number in range(torch.cuda.device_count())]


def describe(properties: Any) -> dict[str, Any]:
    """As `labs.models.Machine.gpus` keeps it."""
    return {
        "name": properties.name,
        "memory_mb": properties.total_memory // 2**20,
        "capability": f"{properties.major}.{properties.minor}",
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(gpus()))
