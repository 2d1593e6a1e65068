"""Chinese questions and short answers from the project's own question bank, follow-ups included.

The file is a snapshot: the bank goes on changing, and what was trained on must not.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import yaml

from worker.data.rows import Pair, splits

QUESTIONS = Path(__file__).parents[2] / "content" / "questions"
SEED = 17
VALIDATION_SHARE = 0.2
MAX_LENGTH = 160  # characters of question and answer together
# Formulas, tables, links and claims would have to be resolved first.
MARKUP = re.compile(r"[\[\]$|`*\n]")


def generate() -> list[Pair]:
    """Pairs of the bank as it is now."""
    rng = Random(SEED)  # noqa: S311 (data, not secrets)
    found = [pair for path in sorted(QUESTIONS.glob("*/*.yaml")) for pair in _pairs(yaml.safe_load(path.read_text()))]
    plain = sorted({pair for pair in found if _is_plain(pair)})
    kept = zip(splits(len(plain), round(VALIDATION_SHARE * len(plain)), rng), plain, strict=True)
    return [Pair(split, prompt, answer, slug) for split, (slug, prompt, answer) in kept]


def _pairs(question: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(slug, prompt, short answer) of a question and of its follow-ups."""
    prompt, short = question["prompt"].get("zh"), question.get("short", {}).get("zh")
    if prompt and short:
        yield question["slug"], prompt, short
    for follow_up in question.get("follow_ups", []):
        yield from _pairs(follow_up)


def _is_plain(pair: tuple[str, str, str]) -> bool:
    _, prompt, answer = pair
    return not MARKUP.search(prompt + answer) and len(prompt + answer) <= MAX_LENGTH
