"""How a learner's interviews went, one after the other."""

from collections.abc import Sequence

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from labs.charts import PlotPoint, Series, line_chart
from quiz.interview.report import Report


def progress_chart(newest_first: Sequence[Report]) -> SafeString | None:
    """Scores of the finished interviews in percent; None while there are fewer than two."""
    scores = [report.score for report in reversed(newest_first) if report.sitting.finished_at]
    points = [PlotPoint(place, 100 * score) for place, score in enumerate(scores, start=1) if score is not None]
    if len(points) < 2:
        return None
    return line_chart(
        [Series(_("Score"), points)],
        title=_("Score over interviews"),
        x_title=_("interview"),
        y_title=_("Score in %"),
        height=240,
    )
