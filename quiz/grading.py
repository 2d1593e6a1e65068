"""Grading: pure functions. A score is a share of full marks, 0 to 1."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from django.utils.translation import gettext as _

from quiz.units import unit_factor

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?(?:/(?:\d+\.?\d*|\.\d+))?", re.IGNORECASE)
GAP = re.compile(r"\{\{(.+?)\}\}")


def rubric_score(weights: Mapping[int, int], made: Iterable[int]) -> float:
    """Share of all weights that the made points carry. `weights` maps a point's position to its weight.

    ValueError names a position that the rubric does not have.
    """
    positions = set(made)
    unknown = positions - weights.keys()
    if unknown:
        raise ValueError(f"Invalid rubric points {sorted(unknown)}; allowed: {sorted(weights)}")
    total = sum(weights.values())
    return sum(weights[position] for position in positions) / total if total else 0.0


def choice_score(right: Iterable[int], chosen: Iterable[int], options: int) -> float:
    """The share of the right options that was chosen, less a penalty for each wrong one; never below 0.

    A wrong option costs at least what a right one gains, and so much that choosing all of the `options` gains nothing.
    For a single choice the score is 1 for the right one and 0 for any other.
    """
    wanted, given = set(right), set(chosen)
    wrong = options - len(wanted)
    penalty = max(1 / len(wanted), 1 / wrong) if wrong else 0.0
    return max(0.0, len(wanted & given) / len(wanted) - penalty * len(given - wanted))


def number_score(expected: float, given: float, tolerance: float) -> float:
    """1 within the relative tolerance, else 0. An expected zero has to be met exactly."""
    return 1.0 if abs(given - expected) <= tolerance * abs(expected) + 1e-12 else 0.0


def order_score(given: Sequence[int]) -> float:
    """1 for 0, 1, 2 …; falls with every pair in the wrong order (Kendall's τ), and is 0 from the middle down.

    ValueError unless `given` holds each position once.
    """
    if sorted(given) != list(range(len(given))):
        raise ValueError(f"Invalid order {list(given)}; each of 0 to {len(given) - 1} has to stand there once")
    pairs = list(combinations(given, 2))
    if not pairs:
        return 1.0
    in_order = sum(first < second for first, second in pairs)
    return max(0.0, 2 * in_order / len(pairs) - 1)


def gaps(text: str) -> list[list[str]]:
    """The accepted answers of each `{{accepted|also right}}` gap of a text."""
    return [[answer.strip() for answer in match[1].split("|")] for match in GAP.finditer(text)]


def cloze_score(accepted: Sequence[Sequence[str]], given: Sequence[str]) -> float:
    """Share of the gaps that were filled rightly; case, blanks and full-width letters make no difference."""
    right = [is_right_gap(answers, text) for answers, text in zip(accepted, given, strict=False)]
    return sum(right) / len(accepted)


def is_right_gap(answers: Sequence[str], given: str) -> bool:
    return _plain(given) in {_plain(answer) for answer in answers}


def _plain(text: str) -> str:
    folded = "".join(chr(ord(c) - 0xFEE0) if 0xFF01 <= ord(c) <= 0xFF5E else c for c in text)
    return re.sub(r"[\s_\-]+", "", folded).casefold()


def parse_number(text: str) -> float:
    """`4,718,592`, `4.7e6`, `1/8` or `３．５` as a float; ValueError says what is accepted."""
    numerator, _slash, denominator = _half_width(text).partition("/")
    try:
        number = float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(_("%(text)r is not a number; write 4718592, 4.7e6 or 1/8") % {"text": text[:40]})
    return number


def parse_quantity(text: str, unit: str) -> float:
    """A number as `parse_number` reads it, in `unit`; with another unit of the same kind behind it, converted.

    ValueError for what is no number, or a unit that does not measure the same.
    """
    plain = _half_width(text)
    found = NUMBER.match(plain)
    if not found or not (behind := plain[found.end() :]):
        return parse_number(text)
    factor = unit_factor(behind, unit)
    if factor is None:
        wanted = _("give the result in %(unit)s") % {"unit": unit} if unit else _("give a number without a unit")
        raise ValueError(
            _("%(text)r does not end in a unit that fits; %(wanted)s") % {"text": text[:40], "wanted": wanted}
        )
    return parse_number(found[0]) * factor


def _half_width(text: str) -> str:
    plain = "".join(chr(ord(c) - 0xFEE0) if 0xFF01 <= ord(c) <= 0xFF5E else c for c in text)
    return re.sub(r"[\s,]", "", plain).replace("−", "-")
