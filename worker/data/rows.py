"""Rows of the data sets other than facts, and their files: one JSON object a line."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Literal

Split = Literal["training", "validation"]
FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Pair:
    """An instruction or question with its answer; validation rows are about other things than training rows."""

    split: Split
    prompt: str
    answer: str
    source: str  # where it comes from, for whoever wants to read on


@dataclass(frozen=True)
class Passage:
    """A piece of running text."""

    split: Split
    text: str
    source: str


def as_lines(rows: list[Pair] | list[Passage]) -> str:
    return "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)


def load_pairs(name: str) -> list[Pair]:
    """The pairs in a data set's file."""
    return [Pair(**json.loads(line)) for line in _lines(name)]


def load_passages(name: str) -> list[Passage]:
    """The passages in a data set's file."""
    return [Passage(**json.loads(line)) for line in _lines(name)]


def _lines(name: str) -> list[str]:
    # Not splitlines: text may hold other line separators than the one that ends a row.
    return (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")


def splits(count: int, validation: int, rng: Random) -> list[Split]:
    """A shuffled split of `count` rows, `validation` of them held out."""
    drawn: list[Split] = ["validation" if i < validation else "training" for i in range(count)]
    rng.shuffle(drawn)
    return drawn
