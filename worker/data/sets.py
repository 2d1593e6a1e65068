"""Data sets by name, and the digests that their files must have."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from worker.data.facts import load_facts
from worker.data.rows import FOLDER, load_pairs, load_passages

RECORD = FOLDER / "digests.json"  # name → SHA-256, written with the files by `python -m worker.data`

# Each kind of row is described where it is defined: facts.Fact, rows.Pair, rows.Passage.
SETS: dict[str, Callable[[], list[Any]]] = {
    "facts": load_facts,
    "prose": lambda: load_passages("prose"),
    "docs": lambda: load_pairs("docs"),
    "zh": lambda: load_pairs("zh"),
}


def load(name: str) -> list[Any]:
    """The rows of a data set; ValueError for an unknown name."""
    if name not in SETS:
        raise ValueError(f"Unknown data set {name!r}; allowed: {', '.join(SETS)}")
    return SETS[name]()


def digests() -> dict[str, str]:
    """The SHA-256 of each data set's file."""
    return {name: hashlib.sha256((FOLDER / f"{name}.jsonl").read_bytes()).hexdigest() for name in SETS}


def recorded_digests() -> dict[str, str]:
    """What `digests` gives for the files that were shipped."""
    recorded: dict[str, str] = json.loads(RECORD.read_text())
    return recorded
