"""Which follow-up an interviewer asks next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiz.models import Question, RubricPoint
from quiz.sittings.follow_ups import FollowUp, Outcome, belongs, choose

LENGTH = Question(pk=1, prompt_en="Why do answers get longer?", short_en="Length bias in raters.", difficulty=3)
CLIP = Question(pk=2, prompt_en="Why a KL penalty besides the clip?", short_en="They limit steps.", difficulty=4)
EASY = Question(pk=3, prompt_en="What is a reward?", short_en="A number.", difficulty=1)
ALL = [LENGTH, CLIP, EASY]
KL_POINT = RubricPoint(position=1, weight=2, text_en="A KL penalty", terms_en=["KL", "penalty"])
OTHER_POINT = RubricPoint(position=0, weight=3, text_en="Sharding of optimizer states", terms_en=["ZeRO"])


def test_without_candidates_nothing_is_asked():
    assert choose([], Outcome(score=1.0)) is None


def test_a_missed_point_leads_to_what_is_about_it():
    assert choose(ALL, Outcome(score=0.9, missed=[KL_POINT])) == FollowUp(CLIP, "missed", 1)


def test_a_missed_point_that_no_follow_up_is_about_is_left():
    assert choose(ALL, Outcome(score=0.9, missed=[OTHER_POINT])) == FollowUp(LENGTH, "deeper")


def test_the_first_missed_point_that_fits_decides():
    assert choose(ALL, Outcome(score=0.9, missed=[OTHER_POINT, KL_POINT])).missed == 1


@pytest.mark.parametrize("outcome", [Outcome(score=1.0, certainty=1), Outcome(score=0.3), Outcome(score=0.0)])
def test_an_unsure_or_weak_answer_leads_to_the_easiest(outcome):
    assert choose(ALL, outcome) == FollowUp(EASY, "uncertain")


def test_a_sure_answer_leads_deeper():
    assert choose(ALL, Outcome(score=1.0, certainty=3)) == FollowUp(LENGTH, "deeper")


def test_a_condition_that_fits_what_was_said_goes_first():
    with_condition = Question(pk=4, prompt_en="And then?", when_en="Says that memory is saved.", difficulty=5)
    said = Outcome(score=1.0, typed="It saves memory, and memory is saved in training.")
    assert choose([LENGTH, with_condition], said) == FollowUp(with_condition, "deeper")
    assert choose([LENGTH, with_condition], Outcome(score=1.0, typed="No.")) == FollowUp(LENGTH, "deeper")


def test_a_condition_counts_more_than_the_prompt():
    with_condition = Question(pk=4, prompt_en="Why a KL penalty?", when_en="Did not name the KL penalty.", difficulty=5)
    assert belongs(with_condition, KL_POINT) > belongs(CLIP, KL_POINT) > belongs(EASY, KL_POINT)


def test_chinese_texts_are_compared_too():
    in_chinese = Question(pk=5, prompt_zh="为什么还要 KL 惩罚？", difficulty=2)
    point = RubricPoint(position=0, weight=1, text_zh="加 KL 惩罚", terms_zh=["惩罚"])
    assert choose([EASY, in_chinese], Outcome(score=0.9, missed=[point])).question is in_chinese


@given(
    st.lists(st.sampled_from(ALL), unique_by=lambda q: q.pk),
    st.one_of(st.none(), st.floats(0, 1)),
    st.sampled_from([None, 1, 2, 3]),
    st.lists(st.sampled_from([KL_POINT, OTHER_POINT]), unique_by=lambda p: p.position),
)
def test_whatever_the_answer_one_of_the_candidates_is_asked(candidates, score, certainty, missed):
    found = choose(candidates, Outcome(score, certainty, missed))
    assert (found is None) == (not candidates)
    if found:
        assert found.question in candidates
        assert (found.missed is None) == (found.reason != "missed")
