"""Any two results of compared runs against each other: what is gained, and what it costs."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from labs.charts import PlotPoint, Series, scatter_chart
from labs.declaration import Lab, Metric
from labs.figures import better_of, drawn_ends, value_title
from labs.models import Run
from labs.queries import Result, results
from labs.titles import compared_title, point_title

LOGARITHMIC = 30  # values that span more than this many times belong on a logarithmic axis


def metrics_in(table: Iterable[dict[str, Any]]) -> list[Metric]:
    """The metrics of a table of results, each once."""
    return list(dict.fromkeys(row["metric"] for row in table))


def tradeoff_figure(lab: Lab, runs: Sequence[Run], x: Metric, y: Metric) -> SafeString | None:
    """Each point of each run by both metrics, a colour and a front a run; None where no point has both."""
    pairs = {compared_title(run): _pairs(results(run), x, y) for run in runs}
    everything = [pair for found in pairs.values() for pair in found]
    if not everything:
        return None
    log_x = _is_wide([across.interval.mean for across, _up in everything])
    log_y = _is_wide([up.interval.mean for _across, up in everything])
    series = [
        Series(title, [_mark(lab, pair, log_x=log_x, log_y=log_y) for pair in found])
        for title, found in pairs.items()
        if found
    ]
    return scatter_chart(
        series,
        title=_("%(y)s against %(x)s") % {"x": x.title, "y": y.title},
        x_title=value_title(x),
        y_title=value_title(y),
        name_title=_("Point"),
        log_x=log_x,
        log_y=log_y,
        better=better_of(x, y),
        apart=True,
    )


def _pairs(found: Iterable[Result], x: Metric, y: Metric) -> list[tuple[Result, Result]]:
    by_place = {(result.name, result.point): result for result in found}
    points = dict.fromkeys(point for _name, point in by_place)
    both = ((by_place.get((x.name, point)), by_place.get((y.name, point))) for point in points)
    return [(across, up) for across, up in both if across and up]


def _is_wide(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) > LOGARITHMIC * min(values)


def _mark(lab: Lab, pair: tuple[Result, Result], *, log_x: bool, log_y: bool) -> PlotPoint:
    across, up = pair
    x_low, x_high = drawn_ends(across.interval, log=log_x)
    low, high = drawn_ends(up.interval, log=log_y)
    name = point_title(across.point, lab) or "—"
    return PlotPoint(across.interval.mean, up.interval.mean, low, high, x_low, x_high, name)
