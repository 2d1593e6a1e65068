"""One rule a method turns what was found into a verdict."""

import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from labs.models import Claim
from labs.schema import CheckSource
from labs.statistics import mean_interval
from labs.verdicts import Finding, accepted_range, combine, judge_citation, judge_metric, judge_value

REPRODUCED, REFUTED, AWAITING, PARTLY = Claim.REPRODUCED, Claim.REFUTED, Claim.AWAITING, Claim.PARTLY
UNDECIDED = Claim.UNDECIDED

numbers = st.floats(-1e6, 1e6)
samples = st.lists(numbers, min_size=2, max_size=8)


def check(**expectation: float) -> CheckSource:
    return CheckSource(**expectation)


@pytest.mark.parametrize(
    ("expectation", "low", "high"),
    [
        ({"expected": 100, "absolute": 5}, 95, 105),
        ({"expected": 100, "relative": 0.1}, 90, 110),
        ({"expected": -100, "relative": 0.1}, -110, -90),
        ({"expected": 0}, 0, 0),
        ({"at_least": 2}, 2, math.inf),
        ({"at_most": 2}, -math.inf, 2),
        ({"at_least": 1, "at_most": 2}, 1, 2),
    ],
)
def test_the_accepted_range(expectation, low, high):
    assert accepted_range(check(**expectation)) == pytest.approx((low, high))


def test_a_zero_tolerance_is_kept():
    assert accepted_range(check(expected=3.0, absolute=0)) == (3.0, 3.0)


# --- formulas ---------------------------------------------------------------------------------------------------------


def test_a_formula_has_to_meet_an_exact_value():
    assert judge_value(check(expected=4_718_592), 4_718_592).verdict == REPRODUCED
    assert judge_value(check(expected=4_718_592), 4_718_593).verdict == REFUTED


def test_rounding_in_floating_point_does_not_refute():
    assert judge_value(check(expected=0.3), 0.1 + 0.2).verdict == REPRODUCED


@given(numbers, numbers, st.floats(0, 1e3))
def test_a_value_is_judged_by_the_range_and_nothing_else(expected, value, margin):
    low, high = expected - margin, expected + margin
    verdict = judge_value(check(expected=expected, absolute=margin), value).verdict
    assert verdict == (REPRODUCED if low <= value <= high else REFUTED)


# --- measurements -----------------------------------------------------------------------------------------------------


@given(samples, st.floats(1e-3, 1e3))
def test_an_interval_inside_the_range_reproduces(values, room):
    found = mean_interval(values)
    finding = judge_metric(check(at_least=found.low - room, at_most=found.high + room), values, is_stochastic=True)
    assert (finding.verdict, finding.reason) == (REPRODUCED, "")
    assert (finding.value, finding.low, finding.high) == (found.mean, found.low, found.high)
    assert finding.n == len(values)


@given(samples, st.floats(1e-3, 1e3))
def test_an_interval_outside_the_range_refutes(values, room):
    found = mean_interval(values)
    for bound in ({"at_least": found.high + room}, {"at_most": found.low - room}):
        finding = judge_metric(check(**bound), values, is_stochastic=True)
        assert (finding.verdict, finding.reason) == (REFUTED, "")


@given(samples)
def test_an_interval_across_an_edge_decides_nothing(values):
    found = mean_interval(values)
    assume(found.low < found.mean < found.high)
    for bound in ({"at_least": found.mean}, {"at_most": found.mean}):
        finding = judge_metric(check(**bound), values, is_stochastic=True)
        assert (finding.verdict, finding.reason) == (UNDECIDED, "undecided")


def test_an_interval_wider_than_the_range_decides_nothing():
    finding = judge_metric(check(expected=1, absolute=0.1), [0.0, 2.0], is_stochastic=True)
    assert (finding.verdict, finding.reason) == (UNDECIDED, "undecided")


@given(numbers, numbers, st.floats(0, 1e6))
def test_one_seed_never_decides(value, expected, margin):
    finding = judge_metric(check(expected=expected, absolute=margin), [value], is_stochastic=True)
    assert (finding.verdict, finding.reason, finding.n) == (AWAITING, "one-seed", 1)
    assert (finding.value, finding.low, finding.high) == (value, None, None)


def test_no_run_decides_nothing():
    for is_stochastic in (True, False):
        finding = judge_metric(check(at_most=1), [], is_stochastic=is_stochastic)
        assert (finding.verdict, finding.reason, finding.n) == (AWAITING, "no-run", 0)


def test_one_value_settles_a_deterministic_metric():
    assert judge_metric(check(expected=256), [256], is_stochastic=False).verdict == REPRODUCED


@given(st.permutations([256.0, 256.0, 300.0]))
def test_every_value_of_a_deterministic_metric_has_to_fit(values):
    finding = judge_metric(check(expected=256), values, is_stochastic=False)
    assert (finding.verdict, finding.value) == (REFUTED, 300.0)


# --- claims -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "combined"),
    [
        ([REPRODUCED], REPRODUCED),
        ([REFUTED], REFUTED),
        ([AWAITING], AWAITING),
        ([REPRODUCED, REPRODUCED], REPRODUCED),
        ([REFUTED, REFUTED], REFUTED),
        ([REPRODUCED, REFUTED], PARTLY),
        ([REPRODUCED, AWAITING], AWAITING),
        ([REFUTED, AWAITING], AWAITING),
        ([REFUTED, UNDECIDED], UNDECIDED),
        ([UNDECIDED, AWAITING], AWAITING),
        ([REPRODUCED, REFUTED, AWAITING], AWAITING),
    ],
)
def test_verdicts_combine(verdicts, combined):
    for order in itertools.permutations(verdicts):
        assert combine([Finding(verdict) for verdict in order]) == combined


def test_a_citation_is_never_reproduced():
    assert judge_citation(has_source=True) == Claim.CITED
    assert judge_citation(has_source=False) == Claim.UNSUPPORTED
