"""Memory simulation: seconds for models of 7 and 70 billion parameters, and a few blocks extended against all of them.

`goal` is what a learner should wait at most, on two cores. The exact simulation is timed once and has to give the same
bytes.
"""

import statistics
import time
from typing import Any

import torch

from labs.memory.recipe import Recipe
from worker.environment import thread_count
from worker.memory.simulate import Simulation, simulate

ROUNDS = 3
GOALS = {"llama-7b": 3.0, "llama-2-70b": 10.0}


def run() -> dict[str, Any]:
    torch.set_num_threads(thread_count())
    simulate(Recipe(model="smollm2-135m", sequence_length=16))  # the first fills caches
    return {"threads": torch.get_num_threads()} | {name: compare(name, goal) for name, goal in GOALS.items()}


def compare(name: str, goal: float) -> dict[str, Any]:
    """QLoRA with gradient checkpointing, as it is run on one GPU."""
    seconds, own = [], []
    for _ in range(ROUNDS):
        began = time.process_time()
        few = simulate(recipe(name))
        own.append(time.process_time() - began)
        seconds.append(few.seconds)
    every = simulate(recipe(name, exact=True))
    median = statistics.median(seconds)
    return {
        "seconds": round(median, 2),
        "cpu_seconds": round(statistics.median(own), 2),
        "goal": goal,
        "is_reached": median <= goal,
        "exact_seconds": round(every.seconds, 2),
        "is_equal": facts(few) == facts(every),
        "peak_gib": round(few.peak_bytes / 2**30, 3),
        "blocks_simulated": few.blocks_simulated,
    }


def recipe(name: str, *, exact: bool = False) -> Recipe:
    return Recipe.model_validate({"model": name, "method": "qlora", "checkpointing": "non-reentrant", "exact": exact})


def facts(simulation: Simulation) -> dict[str, Any]:
    """All but how it was found."""
    found = simulation.to_json()
    return {name: value for name, value in found.items() if name not in ("seconds", "exact", "blocks_simulated")}
