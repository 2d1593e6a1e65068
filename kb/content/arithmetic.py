"""Sums in LaTeX: every equation between numbers in a text is computed.

`$2 \\cdot 4096 \\cdot 8 = 65{,}536$` is checked, `$r(d_{in} + d_{out}) = 8 \\cdot 8192$` is not: only sides that are
numbers through and through can be. A side may be rounded: it has to agree to the digits that it shows.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator
from itertools import pairwise

MATH = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$([^$\n]+?)(?<!\\)\$", re.DOTALL)
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_RELATION = re.compile(r"=|\\approx|\\simeq")
_BREAK = re.compile(r"\\\\|\\quad|\\qquad|;|\\Rightarrow|\\to|&(?!=)")

_OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
MAX_EXPONENT = 100


def wrong_sums(text: str) -> list[str]:
    """The equations between numbers that do not hold, as `left = right`."""
    math = (m[1] or m[2] for m in MATH.finditer(CODE.sub(" ", text)))
    return [f"{left} = {right}" for formula in math for left, right in _equations(formula) if not _holds(left, right)]


def _equations(formula: str) -> Iterator[tuple[str, str]]:
    for part in _BREAK.split(formula.replace("&=", "=")):
        yield from pairwise(side.strip() for side in _RELATION.split(part))


def _holds(left: str, right: str) -> bool:
    values = evaluate(left), evaluate(right)
    if values[0] is None or values[1] is None:
        return True
    are_whole = all(value == int(value) for value in values if value is not None)
    margin = max(_rounding(left), _rounding(right), 0.0 if are_whole else 1e-9 * abs(values[1]))
    return abs(values[0] - values[1]) <= margin


def _rounding(side: str) -> float:
    """Half a unit in the last digit of a plain decimal number; nothing for whole numbers and for sums."""
    plain = _to_python(side).strip()
    match = re.fullmatch(r"-?\d*\.(\d+)(\*10\*\*\((-?\d+)\)|/100)?", plain.replace(" ", ""))
    if not match:
        return 0.0
    scale = 10.0 ** int(match[3]) if match[3] else (0.01 if match[2] else 1.0)
    return 0.5000001 * 10.0 ** -len(match[1]) * scale


def evaluate(side: str) -> float | None:
    """The value of a side that is a number or a sum of numbers; None for everything else."""
    source = _to_python(side)
    if not re.fullmatch(r"[\d.+\-*/() ]+", source) or not re.search(r"\d", source):
        return None
    try:
        value = _value(ast.parse(source.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):  # the last two: a sum without end
        return None
    return value if isinstance(value, float) and math.isfinite(value) else None  # neither infinite nor complex


def _value(node: ast.AST) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(op=op, operand=operand):
            return _OPERATORS[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _value(left), _value(right)
            if isinstance(op, ast.Pow) and abs(b) > MAX_EXPONENT:
                raise ValueError(f"exponent {b}")
            return _OPERATORS[type(op)](a, b)
    raise ValueError("not a sum of numbers")


def _to_python(side: str) -> str:
    """LaTeX arithmetic as Python's; what is not arithmetic stays and makes `evaluate` give up."""
    side = side.replace("{,}", "").replace("\\,", "").replace("\\!", "").replace("\\left", "").replace("\\right", "")
    side = side.replace("\\cdot", "*").replace("\\times", "*").replace("\\%", "/100").replace("−", "-")
    for _ in range(4):  # fractions and powers in each other
        side = re.sub(r"\\[td]?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", side)
        side = re.sub(r"\^\{([^{}]*)\}", r"**(\1)", side)
    side = re.sub(r"\^(\d)", r"**(\1)", side)
    return re.sub(r"(?<=\d),(?=\d{3}\b)", "", side).strip(" .,;:")
