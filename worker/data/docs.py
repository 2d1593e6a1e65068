"""What functions of Python's standard library do, from their docstrings.

The docstrings are part of Python and under its licence (PSF-2.0). They are read from the source files without importing
anything, so that the result depends on the version of Python alone: run the script with the one named here.
"""

import ast
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from random import Random

from worker.data.rows import Pair, splits

PYTHON = "3.11.7"
SEED = 13
PAIRS = 320
VALIDATION = 64
MIN_LENGTH, MAX_LENGTH = 40, 240  # characters of the answer
PROMPTS = (
    "What does `{}` in Python's standard library do?",
    "Explain the Python function `{}` in a sentence or two.",
    "Write the docstring of Python's `{}`.",
)
LEFT_OUT = {"idlelib", "lib2to3", "site-packages", "test", "tests", "turtledemo", "distutils", "ensurepip"}


def generate() -> list[Pair]:
    """The pairs, always the same ones; RuntimeError under another version of Python."""
    if not is_reproducible():
        raise RuntimeError(f"The docs data set is made with Python {PYTHON}")
    rng = Random(SEED)  # noqa: S311 (data, not secrets)
    by_answer = {answer: name for name, answer in reversed(list(_described_functions()))}  # each text once
    chosen = sorted(rng.sample(sorted((name, answer) for answer, name in by_answer.items()), PAIRS))
    kept = zip(splits(PAIRS, VALIDATION, rng), chosen, strict=True)
    return [Pair(split, rng.choice(PROMPTS).format(name), answer, name) for split, (name, answer) in kept]


def is_reproducible() -> bool:
    return ".".join(map(str, sys.version_info[:3])) == PYTHON


def _described_functions() -> Iterator[tuple[str, str]]:
    """(dotted name, first paragraph of the docstring) of every public function and method."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not LEFT_OUT.intersection(parts) and not any(part.startswith("_") for part in parts):
            yield from _in_body(".".join(parts), ast.parse(path.read_bytes()).body)


def _in_body(prefix: str, body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        name = f"{prefix}.{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from _in_body(name, node.body)
        elif answer := _first_paragraph(ast.get_docstring(node) or ""):
            yield name, answer


def _first_paragraph(docstring: str) -> str:
    """As one line; empty when it is too short, too long or not prose."""
    text = " ".join(docstring.split("\n\n", maxsplit=1)[0].split())
    is_prose = text.isascii() and text.endswith(".") and not any(mark in text for mark in (">>>", "->", "::", "--"))
    return text if is_prose and MIN_LENGTH <= len(text) <= MAX_LENGTH else ""
