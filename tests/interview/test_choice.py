"""The choice of the next question."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from quiz.interview.choice import FAILURE, GRADED_EVERY, SUCCESS, Asked, Candidate, Choice, choose, level_after
from quiz.models import Turn

LEVELS = st.integers(1, 5)
SCORES = st.none() | st.floats(0, 1)
SEEDS = st.text(max_size=8)
MASTERY = st.dictionaries(st.integers(1, 4), st.floats(0, 1))
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        pk=st.integers(1, 40),
        topic=st.integers(1, 4),
        difficulty=LEVELS,
        is_open=st.booleans(),
        is_seen=st.booleans(),
    ),
    unique_by=lambda c: c.pk,
    max_size=25,
)


def play(candidates: Sequence[Candidate], scores: Sequence[float | None], **options) -> list[tuple[Candidate, Asked]]:
    """A whole interview: each choice is answered with the next score."""
    by_pk = {c.pk: c for c in candidates}
    asked: list[Asked] = []
    for score in scores:
        choice = choose(candidates, asked, **options)
        if choice is None:
            break
        asked.append(Asked(choice.pk, by_pk[choice.pk].topic, score))
    return [(by_pk[past.pk], past) for past in asked]


@given(CANDIDATES, st.lists(SCORES, max_size=30), LEVELS, MASTERY, SEEDS)
def test_it_never_repeats_and_ends_only_when_all_were_asked(candidates, scores, start, mastery, seed):
    played = play(candidates, scores, start=start, mastery=mastery, seed=seed)
    pks = [candidate.pk for candidate, _ in played]
    assert len(set(pks)) == len(pks) == min(len(scores), len(candidates))


@given(CANDIDATES.filter(bool), LEVELS, MASTERY, SEEDS, st.randoms())
def test_the_same_history_and_seed_give_the_same_question(candidates, start, mastery, seed, chance):
    shuffled = chance.sample(candidates, len(candidates))
    options = {"start": start, "mastery": mastery, "seed": seed}
    assert choose(candidates, [], **options) == choose(shuffled, [], **options)


@given(CANDIDATES, st.lists(SCORES, max_size=30), LEVELS, MASTERY, SEEDS)
def test_it_asks_the_wanted_kind_at_the_nearest_level(candidates, scores, start, mastery, seed):
    played = play(candidates, scores, start=start, mastery=mastery, seed=seed)
    for place, (chosen, _past) in enumerate(played):
        level = level_after(start, [past.score for _, past in played[:place]])
        before = {candidate.pk for candidate, _ in played[:place]}
        wants_open = place % GRADED_EVERY != GRADED_EVERY - 1
        rivals = [c for c in candidates if c.pk not in before and c.is_open == wants_open]
        if rivals:
            assert chosen.is_open == wants_open
            assert abs(chosen.difficulty - level) == min(abs(c.difficulty - level) for c in rivals)


@given(LEVELS, st.lists(SCORES))
def test_the_level_follows_success_and_failure(start, scores):
    levels = [level_after(start, scores[:n]) for n in range(len(scores) + 1)]
    assert levels[0] == start
    for score, (before, after) in zip(scores, pairwise(levels), strict=True):
        assert 1 <= after <= 5
        if score is None or FAILURE <= score < SUCCESS:
            assert after == before
        elif score >= SUCCESS:
            assert after == min(5, before + 1)
        else:
            assert after == max(1, before - 1)


@given(CANDIDATES.filter(bool), st.lists(SCORES, max_size=5), LEVELS, MASTERY, SEEDS)
def test_every_reason_is_one_that_a_turn_may_have(candidates, scores, start, mastery, seed):
    asked = [past for _, past in play(candidates, scores, start=start, mastery=mastery, seed=seed)]
    choice = choose(candidates, asked, start=start, mastery=mastery, seed=seed)
    assert choice is None or choice.reason in dict(Turn.REASONS)


def open_one(pk: int, topic: int = 1, difficulty: int = 3, is_seen: bool = False) -> Candidate:
    return Candidate(pk, topic, difficulty, is_open=True, is_seen=is_seen)


def test_a_weak_topic_comes_before_an_unknown_and_a_strong_one():
    pool = [open_one(1, topic=1), open_one(2, topic=2), open_one(3, topic=3)]
    mastery = {1: 0.95, 3: 0.2}
    first = choose(pool, [], start=3, mastery=mastery, seed="s")
    assert first == Choice(3, "weak")
    second = choose(pool, [Asked(3, 3, 0.5)], start=3, mastery=mastery, seed="s")
    assert second == Choice(2, "topic")
    assert choose(pool, [Asked(3, 3, 0.5), Asked(2, 2, 0.5)], start=3, mastery=mastery, seed="s").pk == 1


def test_an_unseen_question_comes_before_one_that_was_answered():
    pool = [open_one(1, is_seen=True), open_one(2), open_one(3, is_seen=True)]
    assert choose(pool, [], start=3, mastery={}, seed="s") == Choice(2, "unseen")


def test_a_topic_is_touched_once_before_any_comes_again():
    pool = [open_one(pk, topic=pk % 3) for pk in range(12)]
    topics = [c.topic for c, _ in play(pool, [0.5] * 3, start=3, mastery={0: 0.1}, seed="s")]
    assert topics[0] == 0
    assert sorted(topics) == [0, 1, 2]


def test_success_leads_one_level_up_and_says_so():
    pool = [open_one(pk, difficulty=pk) for pk in (1, 2, 3, 4, 5)]
    assert choose(pool, [Asked(3, 1, 1.0)], start=3, mastery={}, seed="s") == Choice(4, "level")
    assert choose(pool, [Asked(3, 1, 0.0)], start=3, mastery={}, seed="s") == Choice(2, "level")


def test_it_names_the_level_only_for_a_question_of_that_level():
    pool = [open_one(1), open_one(2, difficulty=2), open_one(3)]
    assert choose(pool, [Asked(1, 1, 1.0)], start=3, mastery={}, seed="s") == Choice(3, "planned")


def test_every_fourth_question_is_graded_by_the_machine():
    pool = [open_one(pk) for pk in range(10)] + [Candidate(100 + n, 1, 3, is_open=False) for n in range(10)]
    kinds = [c.is_open for c, _ in play(pool, [0.5] * 8, start=3, mastery={}, seed="s")]
    assert kinds == [True, True, True, False] * 2


def test_different_seeds_give_different_interviews():
    pool = [open_one(pk, topic=pk) for pk in range(30)]
    firsts = {choose(pool, [], start=3, mastery={}, seed=str(n)).pk for n in range(20)}
    assert len(firsts) > 5
