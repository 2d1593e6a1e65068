"""How a learner's interviews went, one after the other."""

from collections.abc import Sequence

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from labs.charts import PlotPoint, Series, bar_chart
from quiz.interview.report import Report


def progress_chart(newest_first: Sequence[Report]) -> SafeString | None:
    """Scores of the finished interviews in percent; None while there are fewer than two."""
    finished = [report.score for report in reversed(newest_first) if report.sitting.finished_at]
    scores = [score for score in finished if score is not None]
    points = [PlotPoint(place, 100 * score) for place, score in enumerate(scores)]
    if len(points) < 2:
        return None
    return bar_chart(
        [Series(_("Score"), points)],
        categories=[str(number) for number in range(1, len(points) + 1)],
        title=_("Score over interviews"),
        x_title=_("interview"),
        y_title=_("Score in %"),
        height=220,
    )
