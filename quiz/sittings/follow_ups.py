"""Which follow-up an interviewer asks next. Pure functions over what is known of the answer.

In this order: one that belongs to a rubric point that was missed; the easiest one when the answer was unsure or weak;
else the next level deeper. How well a follow-up belongs to a point is the share of the point's words that its texts
have; a follow-up's condition (`when`) counts twice.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kb.search import plain_text, words_of
from quiz.models import Question, RubricPoint

Reason = Literal["missed", "uncertain", "deeper"]

# Below this share of full marks an answer is weak.
WEAK_SCORE = 0.5
# A follow-up belongs to a missed point when at least this share of the point's words is in its texts.
BELONGS = 0.3
WHEN_WEIGHT = 2

# Words that say nothing about what a text is about.
_COMMON_WORDS = (
    "a an and are as at be but by can do does for from has have how in is it its not of on only or so than that the "
    "their them then there they this to was what when which why with you "
    "的 了 是 在 和 与 不 而 也 有 要 为 一 个 它 这 那 什 么 怎 样 多 会 能 就 都 把 被 只 对"
)
_COMMON = set(_COMMON_WORDS.split())


@dataclass(frozen=True)
class Outcome:
    """What an answer came to. `missed` are the rubric points not made, heaviest first."""

    score: float | None
    certainty: int | None = None
    missed: Sequence[RubricPoint] = field(default_factory=list)
    typed: str = ""

    @property
    def is_uncertain(self) -> bool:
        return self.certainty == 1 or (self.score is not None and self.score < WEAK_SCORE)


@dataclass(frozen=True)
class FollowUp:
    """The follow-up to ask and why; `missed` is the position of the rubric point that led to it."""

    question: Question
    reason: Reason
    missed: int | None = None


def choose(candidates: Sequence[Question], outcome: Outcome) -> FollowUp | None:
    """The follow-up whose condition fits; `candidates` are those not asked yet, in their order."""
    if not candidates:
        return None
    for point in outcome.missed:
        fitting = max(candidates, key=lambda question: belongs(question, point))
        if belongs(fitting, point) >= BELONGS:
            return FollowUp(fitting, "missed", point.position)
    if outcome.is_uncertain:
        return FollowUp(min(candidates, key=lambda question: question.difficulty), "uncertain")
    return FollowUp(_deeper(candidates, outcome.typed), "deeper")


def _deeper(candidates: Sequence[Question], typed: str) -> Question:
    """The first one, unless another one's condition is about what the learner said."""
    said = _words(typed)
    with_condition = [question for question in candidates if said and _share(_words(_when(question)), said) >= BELONGS]
    return (with_condition or list(candidates))[0]


def belongs(question: Question, point: RubricPoint) -> float:
    """From 0 to 1 and, with a condition that names the point, above."""
    wanted = _words(f"{point.text_en} {point.text_zh} {' '.join([*point.terms_en, *point.terms_zh])}")
    texts = _words(f"{question.prompt_en} {question.prompt_zh} {question.short_en} {question.short_zh}")
    return _share(wanted, texts) + (WHEN_WEIGHT - 1) * _share(wanted, _words(_when(question)))


def _when(question: Question) -> str:
    return f"{question.when_en} {question.when_zh}"


def _words(text: str) -> set[str]:
    return set(words_of(plain_text(text)).split()) - _COMMON


def _share(wanted: Collection[str], words: Collection[str]) -> float:
    return len(set(wanted) & set(words)) / len(wanted) if wanted else 0.0
