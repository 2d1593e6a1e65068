"""From checks and what was found to a verdict: one rule a method, and nothing else decides.

- formula: the value lies within the tolerance or it does not.
- measurement, simulation: of a stochastic metric, the 95 % t-interval of the mean over seeds lies inside the accepted
  range (reproduced), outside (refuted), or across its edge (undecided: these seeds cannot tell). One seed decides
  nothing and leaves the claim awaiting a run. A deterministic metric is settled by each of its values.
- citation: a primary source says it (cited), or nobody does (unsupported).

A claim with several checks is reproduced when all hold, refuted when none does, and partly true otherwise; while one of
them awaits a run or is undecided, so is the claim.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from labs.models import Claim
from labs.schema import CheckSource
from labs.statistics import mean_interval

# Room for rounding in floating point where a claim states an exact value.
EXACT = 1e-9


@dataclass(frozen=True)
class Finding:
    """What one check found. `reason` says why nothing is decided: no-run, one-seed, undecided, stale."""

    verdict: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""
    run: int | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def accepted_range(check: CheckSource) -> tuple[float, float]:
    """The closed interval in which a value meets the expectation."""
    if check.expected is None:
        low = -math.inf if check.at_least is None else check.at_least
        return low, math.inf if check.at_most is None else check.at_most
    margin = EXACT * abs(check.expected)
    if check.absolute is not None:
        margin = check.absolute
    if check.relative is not None:
        margin = check.relative * abs(check.expected)
    return check.expected - margin, check.expected + margin


def judge_value(check: CheckSource, value: float) -> Finding:
    """A value without spread: a formula's, or a deterministic metric's."""
    low, high = accepted_range(check)
    verdict = Claim.REPRODUCED if low <= value <= high else Claim.REFUTED
    return Finding(verdict, value=value, low=value, high=value, n=1)


def judge_metric(check: CheckSource, values: list[float], *, is_stochastic: bool) -> Finding:
    """Values of one metric at one point, one a seed."""
    if not values:
        return Finding(Claim.AWAITING, reason="no-run")
    if not is_stochastic:
        worst = max(values, key=lambda value: _distance(value, accepted_range(check)))
        return judge_value(check, worst)
    summary = mean_interval(values)
    if summary.low is None or summary.high is None:
        return Finding(Claim.AWAITING, value=summary.mean, n=1, reason="one-seed")
    low, high = accepted_range(check)
    if low <= summary.low and summary.high <= high:
        verdict, reason = Claim.REPRODUCED, ""
    elif summary.high < low or high < summary.low:
        verdict, reason = Claim.REFUTED, ""
    else:
        verdict, reason = Claim.UNDECIDED, "undecided"
    return Finding(verdict, value=summary.mean, low=summary.low, high=summary.high, n=len(values), reason=reason)


def judge_citation(*, has_source: bool) -> str:
    return Claim.CITED if has_source else Claim.UNSUPPORTED


def combine(findings: list[Finding]) -> str:
    """The verdict of a claim from those of its checks."""
    verdicts = {finding.verdict for finding in findings}
    for open_one in (Claim.AWAITING, Claim.UNDECIDED):
        if open_one in verdicts:
            return open_one
    return verdicts.pop() if len(verdicts) == 1 else Claim.PARTLY


def _distance(value: float, accepted: tuple[float, float]) -> float:
    low, high = accepted
    return max(low - value, value - high, 0.0)
