"""Every number that a reader sees is written by one formatter."""

import math

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from labs.numbers import format_number, format_quantity, format_unit
from labs.templatetags import evidence

SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (8, "8"),
        (256.0, "256"),
        (4_718_592, "4,718,592"),
        (-1000, "-1,000"),
        (0.697, "0.697"),
        (0.6974999, "0.697"),
        (0.5, "0.500"),
        (1.5, "1.50"),
        (12.345, "12.3"),
        (123.4, "123"),
        (999.6, "1,000"),
        (1234.5, "1,234"),
        (0.00015, "1.50×10⁻⁴"),
        (-0.00015, "-1.50×10⁻⁴"),
        (1.75e11, "1.75×10¹¹"),
        (123456.7, "123,457"),
    ],
)
def test_numbers(value, text):
    assert format_number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False, min_value=-1e300, max_value=1e300))
def test_a_written_number_is_within_half_a_percent_of_the_value(value):
    text = format_number(value).replace(",", "")
    mantissa, _, exponent = text.partition("×10")
    read = float(f"{mantissa}e{exponent.translate(SUPERSCRIPTS) or 0}")
    assert math.isclose(read, value, rel_tol=0.0051)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.697, "nats", "0.697 nats"),
        (99, "%", "99 %"),
        (256, "parameters", "256 parameters"),
        (2.5, "×", "2.50×"),
        (6.99e-8, "×", "6.99×10⁻⁸"),
        (0.25, "ratio", "0.250"),
        (0.25, "", "0.250"),
        (14, "GB", "14 GB"),
    ],
)
def test_quantities(value, unit, text):
    assert format_quantity(value, unit) == text


def test_units_that_are_no_words_stay():
    with translation.override("zh-hans"):
        assert format_unit("GB") == "GB"


def test_what_is_not_known_is_a_dash():
    assert evidence.number(None) == evidence.quantity(None, "nats") == "—"
