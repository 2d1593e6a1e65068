"""Rubric points proposed from typed text, in both languages."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiz.sittings.matching import needed, proposed_points


def question(*points: tuple[list[str], list[str]]) -> Any:
    """A question with these (English, Chinese) terms a point."""
    rubric = [SimpleNamespace(position=n, terms_en=en, terms_zh=zh) for n, (en, zh) in enumerate(points)]
    return SimpleNamespace(rubric=SimpleNamespace(all=lambda: rubric))


def says(text: str, term: str) -> bool:
    is_chinese = any(c >= "\u3400" for c in term)
    return proposed_points(question(([], [term]) if is_chinese else ([term], [])), text) == [0]


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("The decomposition is cheap.", "decompos"),
        ("It was DECOMPOSED.", "decompos"),
        ("catastrophic forgeting", "forgetting"),
        ("we use quantizaton here", "quantization"),
        ("an equal-length comparison", "equal length"),
        ("equal   length", "equal-length"),
        ("the KL term", "KL"),
        ("ｌｏｒａ works", "lora"),
        ("scale by alpha over r", "alpha/r"),
        ("scale by α/r", "alpha over r"),
        ("alpha divided by r", "α/r"),
        (r"scale $\alpha / r$", "alpha over r"),
        ("rank squared", "rank^2"),
        ("r times k parameters", "r × k"),
        ("it starts at zero", "0"),
        ("缩放是 α 除以 r", "alpha/r"),
    ],
)
def test_what_is_said_in_english_is_found(text, term):
    assert says(text, term)


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("冻结了原始的权重", "冻结权重"),
        ("先把权重冻结", "冻结"),
        ("学习率要调大", "学习率"),
        ("用留出集做人工评测", "人工"),
        ("代理奖励在数据之外被过度地优化", "过度优化"),
        ("ＫＬ 惩罚", "KL"),
        ("缩放 alpha除以r", "α除以r"),
        ("这没有出处", "没有出处"),
    ],
)
def test_what_is_said_in_chinese_is_found(text, term):
    assert says(text, term)


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("frankly, we train", "rank"),
        ("the clinker", "KL"),
        ("r is small", "rank"),
        ("12 steps", "1"),
        ("", "rank"),
        ("   ", "rank"),
        ("equal. Length matters", "equal length"),
        ("权重很大。然后我们把它冻结", "权重冻结"),
        ("学习速度", "学习率"),
    ],
)
def test_what_is_not_said_is_not_found(text, term):
    assert not says(text, term)


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("LoRA does not freeze the base", "freeze"),
        ("without freezing anything", "freez"),
        ("we never merge", "merge"),
        ("it isn't frozen", "frozen"),
        ("没有冻结权重", "冻结"),
        ("不冻结", "冻结"),
        ("不需要冻结", "需要"),
    ],
)
def test_what_is_denied_does_not_count(text, term):
    assert not says(text, term)


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("we do not only freeze, we also quantise", "freeze"),
        ("not so; we freeze the base", "freeze"),
        ("the update is not exact", "not exact"),
        ("不仅冻结权重", "冻结"),
        ("不，我们冻结权重", "冻结"),
        ("数值不稳定", "不稳定"),
        ("It does not grow. We freeze it.", "freeze"),
    ],
)
def test_a_negation_reaches_no_further_than_its_words(text, term):
    assert says(text, term)


def test_what_it_cannot_see_is_known():
    """Taking back later, and negating twice: the reason why the learner has the last word."""
    assert says("freezing is wrong here", "freez")
    assert not says("never not frozen", "frozen")


def test_half_of_a_points_terms_are_enough_in_either_language():
    two_of_three = question((["proxy", "over-optimi", "hacking"], ["代理", "过度优化", "黑客"]))
    assert proposed_points(two_of_three, "a proxy") == []
    assert proposed_points(two_of_three, "a proxy, hacking") == [0]
    assert proposed_points(two_of_three, "a proxy 被过度优化") == [0]
    assert [needed(n) for n in (1, 2, 3, 4, 5)] == [1, 1, 2, 2, 3]


def test_each_point_is_judged_by_its_own_terms():
    both = question((["rank"], ["秩"]), (["alpha"], ["alpha"]), ([], []))
    assert proposed_points(both, "低秩") == [0]
    assert proposed_points(both, "alpha and rank") == [0, 1]


TERMS = [["rank", "alpha"], ["freeze"], ["memory", "optimizer", "states"]]


@settings(max_examples=50)
@given(st.text(max_size=200))
def test_any_text_gives_positions_of_the_rubric(text):
    found = proposed_points(question(*((terms, []) for terms in TERMS)), text)
    assert set(found) <= {0, 1, 2}
    assert found == sorted(set(found))


@given(st.permutations([term for terms in TERMS for term in terms]))
def test_whoever_says_everything_makes_every_point(words):
    assert proposed_points(question(*((terms, []) for terms in TERMS)), ", ".join(words)) == [0, 1, 2]


def test_the_longest_answer_is_compared():
    text = "the optimizer keeps two states for each weight; 优化器为每个权重保存两个状态。" * 300
    assert proposed_points(question((["optimizer"], ["优化器状态"])), text) == [0]
