"""Parametric questions: fresh numbers for each attempt, and the answer computed from them.

The numbers follow from the attempt's token alone, so that the form and its grading agree without any state in between.
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from kb.markup import VARIABLE
from labs.formulas import FORMULAS
from labs.numbers import format_number, latex_number

MATH = re.compile(r"(\$\$.*?\$\$|(?<!\\)\$[^$\n]*?(?<!\\)\$)", re.DOTALL)
RESULT = "result"

# Combinations that `check_content` tries; more than this are sampled from the front.
MAX_COMBINATIONS = 500


@dataclass(frozen=True)
class Drawn:
    """The drawn values, the intermediate results and the result, by the names that texts use."""

    values: dict[str, Any]
    result: float


def draw(spec: Mapping[str, Any], seed: str) -> Drawn:
    """Draw with a seed (the attempt's token) and compute."""
    chance = random.Random(seed)  # noqa: S311 (numbers to practise with)
    return compute(spec, {name: chance.choice(options) for name, options in sorted(spec["draw"].items())})


def combinations(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of drawn values, up to MAX_COMBINATIONS."""
    names = sorted(spec["draw"])
    for values in islice(product(*(spec["draw"][name] for name in names)), MAX_COMBINATIONS):
        yield dict(zip(names, values, strict=True))


def compute(spec: Mapping[str, Any], values: dict[str, Any]) -> Drawn:
    """Intermediate results in their order, then the result; each may use the ones before it."""
    known = dict(values)
    for name, source in spec.get("let", {}).items():
        known[name] = evaluate(source, known)
    result = evaluate(spec[RESULT], known)
    return Drawn(known | {RESULT: result}, result)


def evaluate(source: Mapping[str, Any], values: Mapping[str, Any]) -> float:
    """The formula with its arguments filled in. KeyError, TypeError or ValueError where they do not fit."""
    arguments = {name: _filled(argument, values) for name, argument in source.get("arguments", {}).items()}
    return FORMULAS[source["formula"]](**arguments)


def _filled(argument: Any, values: Mapping[str, Any]) -> Any:
    """`<<rank>>` alone becomes the value itself; inside a longer string its text."""
    if not isinstance(argument, str):
        return argument
    whole = VARIABLE.fullmatch(argument)
    return values[whole[1]] if whole else VARIABLE.sub(lambda m: str(values[m[1]]), argument)


def fill(text: str, values: Mapping[str, Any]) -> str:
    """The text with the values in it, as readers see numbers; a name that is not known stays as it is."""
    shown = {name: value if isinstance(value, str) else format_number(value) for name, value in values.items()}
    in_math = {name: latex_number(value) for name, value in shown.items()}
    parts = MATH.split(text)  # text and mathematics in turn
    return "".join(_substitute(part, in_math if index % 2 else shown) for index, part in enumerate(parts))


def _substitute(text: str, shown: Mapping[str, str]) -> str:
    return VARIABLE.sub(lambda m: shown.get(m[1], m[0]), text)
