"""What a finished quiz came to."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from kb.models import Topic
from quiz.mistakes import PASSED
from quiz.models import Turn
from quiz.sittings.calibration import Level, calibration
from quiz.sittings.marks import RIGHT


@dataclass(frozen=True)
class TopicScore:
    """`score` is the mean over what was asked, without answers that were not marked; None where nothing else is."""

    topic: Topic
    asked: int
    score: float | None


@dataclass(frozen=True)
class Report:
    turns: Sequence[Turn]
    topics: list[TopicScore]
    score: float | None
    answered: int
    marks: float | None  # the sum by certainty, None without it
    best_marks: int
    milliseconds: int
    levels: list[Level]

    @property
    def mistakes(self) -> list[Turn]:
        return [turn for turn in self.turns if is_mistake(turn)]


def is_mistake(turn: Turn) -> bool:
    """Answered wrongly, or not at all; an answer that was not marked is neither right nor wrong."""
    if turn.attempt is None:
        return True
    return turn.attempt.score is not None and turn.attempt.score < PASSED


def report(turns: Sequence[Turn]) -> Report:
    sure = [(t.certainty, t.attempt.score) for t in turns if t.certainty and t.attempt and t.attempt.score is not None]
    marks = [turn.marks for turn in turns if turn.marks is not None]
    return Report(
        turns=turns,
        topics=_topics(turns),
        score=_mean(turns),
        answered=sum(turn.attempt is not None for turn in turns),
        marks=sum(marks) if marks else None,
        best_marks=len(marks) * max(RIGHT.values()),
        milliseconds=sum(turn.attempt.milliseconds for turn in turns if turn.attempt),
        levels=calibration(sure),
    )


def _topics(turns: Sequence[Turn]) -> list[TopicScore]:
    by_topic: dict[Topic, list[Turn]] = defaultdict(list)
    for turn in turns:
        by_topic[turn.question.topic].append(turn)
    ordered = sorted(by_topic, key=lambda topic: topic.position)
    return [TopicScore(topic, len(by_topic[topic]), _mean(by_topic[topic])) for topic in ordered]


def _mean(turns: Sequence[Turn]) -> float | None:
    """An unanswered question counts as nothing; an answer that was not marked does not count."""
    scores = [turn.attempt.score if turn.attempt else 0.0 for turn in turns]
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None
