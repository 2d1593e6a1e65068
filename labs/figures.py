"""A lab's declared charts, drawn from runs: the reference and, beside it, the reader's own."""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast, get_args

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from kb.text import Text
from labs.charts import Cell, Grid, PlotPoint, Role, Series, bar_chart, heat_map, line_chart
from labs.declaration import Chart, Lab, Metric
from labs.models import Run
from labs.numbers import format_unit
from labs.queries import Result, results


def figures(lab: Lab, reference: Run | None, own: Run | None = None) -> list[SafeString]:
    """The lab's charts; one without any data is left out."""
    found = {"reference": results(reference) if reference else [], "own": results(own) if own else []}
    drawn = (draw(lab, chart, found) for chart in lab.charts)
    return [figure for figure in drawn if figure]


def compared_figures(lab: Lab, found: dict[str, list[Result]]) -> list[SafeString]:
    """The charts of several runs, whose results come by their titles: a line a run, a chart each series.

    Heat maps are left out: they have no room for a second run, and their numbers are in the table.
    """
    results_of_all = [result for group in found.values() for result in group]
    charts = [one for chart in lab.charts if chart.kind != "heat" for one in _by_series(chart, results_of_all)]
    return [figure for figure in (draw(lab, chart, found) for chart in charts) if figure]


def _by_series(chart: Chart, found: Iterable[Result]) -> list[Chart]:
    """The chart once for each of its series."""
    if not chart.series:
        return [chart]
    names = dict.fromkeys(result.settings[chart.series] for result in found if _belongs(chart, result))
    return [
        replace(
            chart,
            series="",
            title=_joined(chart.title, chart.series_titles.get(name, Text(en=name, zh=name))),
            where={**chart.where, chart.series: name},
        )
        for name in names
    ]


def _joined(first: Text, second: Text) -> Text:
    return Text(en=f"{first.en} · {second.en}", zh=f"{first.zh} · {second.zh}")


def value_title(metric: Metric) -> str:
    """What stands at the axis of a metric: its title with the unit."""
    return f"{metric.title} ({format_unit(metric.unit)})" if metric.unit else str(metric.title)


def draw(lab: Lab, chart: Chart, found: dict[str, list[Result]], *, y_line: float | None = None) -> SafeString | None:
    """One chart; `found` holds the results by role (`reference`, `own`), or by the titles of runs."""
    metric = lab.metric(chart.metric)
    shown = {role: [r for r in group if _belongs(chart, r)] for role, group in found.items()}
    if not any(shown.values()):
        return None
    if chart.kind == "heat":
        return _heat_map(chart, shown, value_title(metric))
    common = {
        "title": str(chart.title),
        "x_title": str(chart.x_title) or chart.x,
        "y_title": value_title(metric),
        "y_line": y_line,
    }
    if chart.kind == "bar":
        categories = list(dict.fromkeys(r.settings[chart.x] for group in shown.values() for r in group))
        return bar_chart(_series(chart, shown, categories), categories=categories, **common)  # type: ignore[arg-type]
    return line_chart(_series(chart, shown), log_x=chart.log_x, log_y=chart.log_y, **common)  # type: ignore[arg-type]


def _heat_map(chart: Chart, shown: dict[str, list[Result]], title_of_values: str) -> SafeString:
    """The claimed value, if any, has no place in it."""
    everything = [result.settings for group in shown.values() for result in group]
    columns = _in_order({settings[chart.x]: None for settings in everything})
    found = {settings.get(chart.series, ""): None for settings in everything}
    rows = [name for name in chart.series_titles if name in found]
    rows += [name for name in _in_order(found) if name not in rows]
    grids = []
    for role, group in shown.items():
        cells = [
            Cell(rows.index(r.settings.get(chart.series, "")), columns.index(r.settings[chart.x]), r.interval.mean)
            for r in group
        ]
        if cells:
            grids.append(Grid(cells, cast("Role", role)))
    return heat_map(
        grids,
        rows=[str(chart.series_titles.get(name, name)) for name in rows],
        columns=columns,
        title=str(chart.title),
        x_title=str(chart.x_title) or chart.x,
        value_title=title_of_values,
    )


def _in_order(names: Iterable[str]) -> list[str]:
    """Numbers by size, other names as they come."""
    listed = list(names)
    try:
        return sorted(listed, key=float)
    except ValueError:
        return listed


def _belongs(chart: Chart, result: Result) -> bool:
    settings = result.settings
    return (
        result.name == chart.metric
        and chart.x in settings
        and (not chart.series or chart.series in settings)
        and all(settings.get(name) == value for name, value in chart.where.items())
        and (result.interval.mean > 0 or not _is_logarithmic(chart))
    )


def _is_logarithmic(chart: Chart) -> bool:
    return chart.log_y and chart.kind == "line"


def _series(chart: Chart, shown: dict[str, list[Result]], categories: list[str] | None = None) -> list[Series]:
    series = []
    for role, group in shown.items():
        names = list(dict.fromkeys(result.settings.get(chart.series, "") for result in group))
        for name in names:
            points = [_plot(chart, r, categories) for r in group if r.settings.get(chart.series, "") == name]
            label = str(chart.series_titles.get(name, name)) or _("measured")
            ordered = sorted(points, key=lambda p: p.x)
            if role in get_args(Role):
                series.append(Series(label, ordered, role=cast("Role", role)))
            else:
                series.append(Series(role, ordered))
    return series


def _plot(chart: Chart, result: Result, categories: list[str] | None) -> PlotPoint:
    place = result.settings[chart.x]
    x = float(categories.index(place) if categories else place)
    found = result.interval
    # A logarithmic axis has no zero: an interval that reaches it stands in the table only.
    if found.low is not None and found.low <= 0 and _is_logarithmic(chart):
        return PlotPoint(x, found.mean)
    return PlotPoint(x, found.mean, found.low, found.high)
