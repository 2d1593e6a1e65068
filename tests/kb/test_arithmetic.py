"""Every equation between numbers in a text is computed, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.content.arithmetic import evaluate, wrong_sums

RIGHT = [
    r"$2 \cdot 4096 \cdot 8 = 65{,}536$",
    r"$2\times 3 = 6$",
    r"$\frac{16}{8} = 2$",
    r"$\frac{1}{3} \approx 0.333$",
    r"$2^{10} = 1024$",
    r"$10\% = 0.1$",
    r"$(1 + 2) \cdot 3 = 9$",
    "$$\n1 + 1 = 2 \\\\ 2 + 2 = 4\n$$",
    r"$1 + 1 = 2 = 4 / 2$",
    r"$r(d + k) = 8 \cdot 8192$",
    r"$\Delta W = BA$",
    "a price of \\$5 = \\$6",
    "`$1 = 2$`",
    "```\n$1 = 2$\n```",
]
WRONG = {
    r"$2 \cdot 4096 \cdot 8 = 65{,}535$": [r"2 \cdot 4096 \cdot 8 = 65{,}535"],
    r"$\frac{1}{3} \approx 0.334$": [r"\frac{1}{3} = 0.334"],
    r"$1 + 1 = 3$ and $2 = 2$": ["1 + 1 = 3"],
    r"$1 + 1 = 2 = 5$": ["2 = 5"],
    "$$\n1 + 1 = 2 \\\\ 2 + 2 = 5\n$$": ["2 + 2 = 5"],
}


@pytest.mark.parametrize("text", RIGHT)
def test_right_sums_and_what_is_no_sum_pass(text):
    assert wrong_sums(text) == []


@pytest.mark.parametrize(("text", "found"), WRONG.items())
def test_wrong_sums_are_named(text, found):
    assert wrong_sums(text) == found


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_only_the_right_product_passes(a, b):
    assert wrong_sums(rf"${a} \cdot {b} = {a * b}$") == []
    assert wrong_sums(rf"${a} \cdot {b} = {a * b + 1}$") != []


@pytest.mark.parametrize(
    "side",
    [
        "__import__",
        "x",
        "",
        "()",
        "1 / 0",
        "9^{9^{9^{9}}}",
        "10^{1000}",
        "(0-8)^{0.5}",
        r"10^{90} \cdot 10^{90} \cdot 10^{90} \cdot 10^{90}",
        "(" * 5000 + "1" + ")" * 5000,
        "-" * 50_000 + "1",
        "+".join("1" * 50_000),
    ],
)
def test_what_is_not_arithmetic_or_has_no_end_is_left_alone(side):
    assert evaluate(side) is None


@given(st.text(alphabet="0123456789.+-*/()^{}\\ =frac$", max_size=40))
def test_no_formula_breaks_the_check(text):
    wrong_sums(f"${text}$")
