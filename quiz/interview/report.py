"""What an interview came to: scores, time, what to read and what to review."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from kb.models import Point, Status, Topic
from kb.text import pick
from labs.models import Claim
from quiz.interview.choice import SUCCESS, level_after
from quiz.interview.queries import asked_questions, options_of
from quiz.models import Attempt, Question, RubricPoint, Sitting, Turn
from quiz.templatetags.practice import dimension_title

# Below this score an answer is missed: it belongs into review, and what it rests on is to be read.
MISSED = SUCCESS
DIMENSIONS = [dimension for dimension, _title in RubricPoint.DIMENSIONS]


@dataclass(frozen=True)
class Share:
    """A share of full marks, of so many answers or points."""

    title: str
    score: float
    count: int


@dataclass(frozen=True)
class Report:
    sitting: Sitting
    turns: Sequence[Turn]

    @property
    def paths(self) -> list[list[Turn]]:
        """A question and its follow-ups, in the order in which they were asked."""
        by_position = defaultdict(list)
        for turn in self.turns:
            by_position[turn.position].append(turn)
        return list(by_position.values())

    @property
    def answered(self) -> int:
        return len(_attempts(self.turns))

    @property
    def level(self) -> int:
        """Where the level stood at the end."""
        return level_after(options_of(self.sitting).level, [past.score for past in asked_questions(self.turns)])

    @property
    def score(self) -> float | None:
        return mean_score(self.turns)

    @property
    def seconds(self) -> float:
        return sum(attempt.milliseconds for attempt in _attempts(self.turns)) / 1000

    @property
    def topics(self) -> list[Share]:
        """The weakest first."""
        scores: dict[int, list[float]] = defaultdict(list)
        topics: dict[int, Topic] = {}
        for turn in self.turns:
            if turn.attempt and turn.attempt.score is not None:
                topics[turn.question.topic_id] = turn.question.topic
                scores[turn.question.topic_id].append(turn.attempt.score)
        shares = [Share(pick(topics[pk], "title"), fmean(found), len(found)) for pk, found in scores.items()]
        return sorted(shares, key=lambda share: share.score)

    @property
    def dimensions(self) -> list[Share]:
        """Of the rubric points of marked open answers, by weight; dimensions that were not asked for are left out."""
        found: dict[str, list[tuple[int, bool]]] = defaultdict(list)  # (weight, made)
        for turn in self.turns:
            if turn.question.kind == Question.OPEN and turn.attempt and turn.attempt.score is not None:
                for point in turn.question.rubric.all():
                    found[point.dimension].append((point.weight, point.position in turn.attempt.made_points))
        return [_share(name, found[name]) for name in DIMENSIONS if found[name]]

    @property
    def missed(self) -> list[Turn]:
        return [turn for turn in self.turns if is_missed(turn)]

    @property
    def points(self) -> list[Point]:
        """What the missed questions rest on; a follow-up rests on what its question rests on."""
        found = (point for turn in self.missed for point in _source(turn.question).points.all())
        return _once(point for point in found if point.status == Status.PUBLISHED)

    @property
    def claims(self) -> list[Claim]:
        """The numbers that the missed questions show."""
        return _once(claim for turn in self.missed for claim in turn.question.claims.all())


def mean_score(turns: Iterable[Turn]) -> float | None:
    """Of the answers that have a score; None without any."""
    scores = [attempt.score for attempt in _attempts(turns) if attempt.score is not None]
    return fmean(scores) if scores else None


def is_missed(turn: Turn) -> bool:
    """Answered below the mark, or asked and not answered."""
    if turn.attempt is None:
        return turn.asked_at is not None
    return turn.attempt.score is not None and turn.attempt.score < MISSED


def _share(name: str, points: list[tuple[int, bool]]) -> Share:
    total, made = sum(weight for weight, _ in points), sum(weight for weight, is_made in points if is_made)
    return Share(dimension_title(name), made / total, len(points))


def _attempts(turns: Iterable[Turn]) -> list[Attempt]:
    return [turn.attempt for turn in turns if turn.attempt]


def _source(question: Question) -> Question:
    return question.root or question


def _once(items: Iterable) -> list:
    return list({item.pk: item for item in items}.values())
