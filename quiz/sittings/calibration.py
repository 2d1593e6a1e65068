"""How sure somebody was against how often they were right."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from labs.charts import PlotPoint, Series, line_chart

# The chance of being right from which on a certainty is worth choosing, by `quiz.sittings.marks`.
BANDS = {1: (0.0, 2 / 3), 2: (2 / 3, 0.8), 3: (0.8, 1.0)}
Z = 1.96  # 95 %
# Fewer answers say nothing about somebody's judgement, whatever the interval.
MIN_ANSWERS = 5


@dataclass(frozen=True)
class Level:
    """The answers given with one certainty. Shares from 0 to 1; `low` and `high` are Wilson's 95 % interval."""

    certainty: int
    count: int
    right: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether the interval lies beside the band that the certainty stands for."""
        least, most = BANDS[self.certainty]
        if self.count < MIN_ANSWERS:
            return "too few"
        if self.high < least:
            return "overconfident"
        return "underconfident" if self.low > most else "calibrated"

    @property
    def band(self) -> tuple[float, float]:
        return BANDS[self.certainty]


def calibration(answers: Iterable[tuple[int, float]]) -> list[Level]:
    """(certainty, score) of answers → one level for each certainty used. A partial score counts as its share."""
    scores: dict[int, list[float]] = defaultdict(list)
    for certainty, score in answers:
        scores[certainty].append(score)
    return [_level(certainty, scores[certainty]) for certainty in sorted(scores)]


def _level(certainty: int, scores: list[float]) -> Level:
    n, right = len(scores), sum(scores) / len(scores)
    centre = (right + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(right * (1 - right) / n + Z * Z / (4 * n * n))
    return Level(certainty, n, right, max(0.0, centre - half), min(1.0, centre + half))


def calibration_chart(levels: list[Level]) -> SafeString:
    """Share of right answers over the chance that was stated (the middle of its band), beside equality."""
    own = Series(_("You"), [_point(level) for level in levels])
    equal = Series(_("as sure as right"), [PlotPoint(x, x) for x in (0, 100)])
    return line_chart(
        [own, equal],
        title=_("Calibration curve"),
        x_title=_("Stated: chance of being right in %"),
        y_title=_("Right answers in %"),
    )


def _point(level: Level) -> PlotPoint:
    stated = 100 * sum(level.band) / 2
    return PlotPoint(stated, 100 * level.right, 100 * level.low, 100 * level.high)
