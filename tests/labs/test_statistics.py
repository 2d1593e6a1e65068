"""Means over seeds."""

import pytest

from labs.statistics import Summary, mean_interval


def test_one_value_has_no_interval():
    assert mean_interval([3.5]) == Summary(1, 3.5, None, None)


def test_the_interval_of_three_values():
    # Mean 2, s = 1; t(0.975, 2 degrees of freedom) = 4.3027 in any printed table; 4.3027 / √3 = 2.4841.
    summary = mean_interval([1.0, 2.0, 3.0])
    assert (summary.n, summary.mean) == (3, 2.0)
    assert summary.low == pytest.approx(2 - 2.4841, abs=1e-4)
    assert summary.high == pytest.approx(2 + 2.4841, abs=1e-4)


def test_another_confidence():
    # t(0.95, 4 degrees of freedom) = 2.1318; s = √2.5; 2.1318 · √(2.5 / 5) = 1.5074.
    summary = mean_interval([1, 2, 3, 4, 5], confidence=0.9)
    assert summary.high - summary.mean == pytest.approx(1.5074, abs=1e-4)


def test_equal_values_have_an_interval_of_no_width():
    assert mean_interval([0.1, 0.1, 0.1]) == Summary(3, pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))


def test_no_values_have_no_mean():
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])
