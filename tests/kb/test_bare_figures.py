"""Figures that stand in a text without evidence are found; settings, names and places are not figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.content.figures import bare_figures
from kb.content.files import read_tree
from tests.content_tree import edited, text, write


@pytest.mark.parametrize(
    ("source", "figures"),
    [
        ("It saves 40 % of the memory.", ["40 %"]),
        ("It takes 14 GB.", ["14 GB"]),
        ("The loss is 0.697.", ["0.697"]),
        ("It has 4,718,592 parameters.", ["4,718,592 parameters"]),
        ("About 350 of them.", ["350"]),
        ("显存减少 40%，约 3 倍。", ["40%", "3 倍"]),
        ("3 billion words and 2.5 more", ["3 billion", "2.5"]),
    ],
)
def test_figures_are_found(source, figures):
    assert bare_figures(source) == figures


@pytest.mark.parametrize(
    "source",
    [
        "Rank 8 with two matrices.",
        "GPT-3, LLaMA-7B, NF4, a 4-bit base.",
        "In Table 12 and Section 4.2 of 2021.",
        "It takes [[claim:memory]] or [[plain:14 GB|by definition]].",
        "By [@hu2021] and [a page](https://a.example/1234.5).",
        "$0.697$ and $$350 = 350$$ and `1.5 GB`",
        "```\n1.5 GB\n```",
        "见表 12 和第 4.2 节。",
    ],
)
def test_backed_figures_settings_names_and_places_are_left_alone(source):
    assert bare_figures(source) == []


@given(st.text(max_size=60))
def test_no_text_breaks_the_check(source):
    bare_figures(source)


def test_a_bare_figure_is_an_error_with_file_and_place(tree):
    name = "points/math/rank.yaml"
    write(tree, name, edited(name, practice=text("It takes 14 GB.")))
    problem = next(p for p in read_tree(tree).errors() if p.code == "bare-number")
    assert (problem.file, problem.line) == (name, 1)
    assert "practice (en): '14 GB' needs" in problem.message


def test_a_wrong_sum_is_an_error_with_file_and_place(tree):
    name = "points/math/rank.yaml"
    write(tree, name, edited(name, practice=text("$1 + 1 = 3$")))
    problem = next(p for p in read_tree(tree).errors() if "1 + 1 = 3" in p.message)
    assert (problem.file, problem.line) == (name, 1)
