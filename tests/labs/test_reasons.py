"""Reasons are kept as codes and told in the reader's language."""

import re

import pytest
from django.utils import translation

from kb.text import Text
from labs.reasons import OWN, REASONS, message, own

ARGUMENT = re.compile(r"%\((\w+)\)s")


def arguments(code: str) -> dict[str, str]:
    return {name: f"<{name}>" for name in ARGUMENT.findall(str(REASONS[code]))}


@pytest.mark.parametrize("code", REASONS)
def test_every_reason_is_told_in_both_languages(code):
    english = message(code, arguments(code))
    with translation.override("zh-hans"):
        chinese = message(code, arguments(code))
    assert english.isascii()
    assert not chinese.isascii()
    assert all(value in english and value in chinese for value in arguments(code).values())
    assert len(code) <= 40


def test_a_note_in_own_words_has_one_language_or_two():
    assert own("") == ("", {})
    assert own("r = 8") == (OWN, {"en": "r = 8"})
    both = own(Text(en="training", zh="训练中"))
    assert message(*both) == "training"
    with translation.override("zh-hans"):
        assert message(*both) == "训练中"
        assert message(OWN, {"en": "r = 8"}) == "r = 8"


def test_what_it_does_not_know_is_shown_as_it_is():
    assert message("", {}) == ""
    assert message("from-the-future", {}) == "from-the-future"
    assert message("timed-out", {}) == "timed-out"
    assert message(OWN, {"unknown": 1}) == OWN


def test_a_reason_may_hold_the_reason_of_something_else():
    inner = {"code": "diverged", "args": {"metric": "loss", "point": "rank=8", "where": "seed 0", "value": "nan"}}
    args = {"count": 1, "points": "rank=8 (seed 0)", "reason": inner}
    text = message("points-failed", args)
    assert text.startswith(
        "Points that could not be computed (1): rank=8 (seed 0). The first of them: Diverged: loss at rank=8"
    )
