"""A lab's declared charts, drawn from runs: the reference and, beside it, the reader's own."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast, get_args

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from kb.text import Text
from labs.catalog import get_lab
from labs.charts import (
    Across,
    Better,
    Cell,
    Grid,
    PlotPoint,
    Role,
    Series,
    bar_chart,
    claimed,
    heat_map,
    line_chart,
    predicted,
    scatter_chart,
)
from labs.declaration import Chart, Lab, Metric
from labs.models import Run
from labs.numbers import format_unit
from labs.points import parse_point
from labs.queries import Result, results
from labs.schema import CheckSource
from labs.statistics import Summary


def figures(
    lab: Lab, reference: Run | None, own: Run | None = None, expected: Mapping[str, float] | None = None
) -> list[SafeString]:
    """The lab's charts; one without any data is left out. `expected` are predicted numbers by the guess they answer."""
    found = {"reference": results(reference) if reference else [], "own": results(own) if own else []}
    drawn = (draw(lab, chart, found, y_line=_expected(lab, chart, expected or {})) for chart in lab.charts)
    return [figure for figure in drawn if figure]


def _expected(lab: Lab, chart: Chart, expected: Mapping[str, float]) -> Across | None:
    """The first predicted number that belongs into the chart."""
    for guess in lab.guesses:
        if guess.kind == "value" and guess.slug in expected and _shows(chart, guess.metric, guess.points[0]):
            return predicted(expected[guess.slug])
    return None


def claim_figures(checks: Iterable[CheckSource], references: Mapping[str, Run]) -> list[SafeString]:
    """What decided a claim, in the charts of its labs, with the claimed value drawn across; one a metric and series.

    `references` are the reference runs by lab. Heat maps are left out: a line has no place in them.
    """
    drawn: dict[tuple[str, str], SafeString] = {}
    found_in = {slug: {"reference": results(run)} for slug, run in references.items()}
    for check in checks:
        if check.lab not in references or (check.lab, check.metric) in drawn:
            continue
        lab, found = get_lab(check.lab), found_in[check.lab]
        charts = (chart for chart in lab.charts if chart.kind != "heat" and _shows(chart, check.metric, check.point))
        figure = next((draw(lab, chart, found, y_line=_claimed(check)) for chart in charts), None)
        if figure:
            drawn[check.lab, check.metric] = figure
    return list(drawn.values())


def _shows(chart: Chart, metric: str, point: str) -> bool:
    """Whether the point is one of those that the chart draws."""
    settings = parse_point(point)
    fits = all(settings.get(name) == value for name, value in chart.where.items())
    return chart.metric == metric and chart.x in settings and fits


def _claimed(check: CheckSource) -> Across | None:
    """The value or the bound; of an interval nothing, because one line would mislead."""
    given = [v for v in (check.expected, check.at_least, check.at_most) if v is not None]
    return claimed(given[0]) if len(given) == 1 else None


def compared_figures(lab: Lab, found: dict[str, list[Result]]) -> list[SafeString]:
    """The charts of several runs, whose results come by their titles: a line a run, a chart each series.

    A scatter chart stays one, whose marks have the colour of their run. Heat maps are left out: they have no room for
    a second run, and their numbers are in the table.
    """
    results_of_all = [result for group in found.values() for result in group]
    charts = [one for chart in lab.charts if chart.kind != "heat" for one in _by_series(chart, results_of_all)]
    return [figure for figure in (draw(lab, chart, found) for chart in charts) if figure]


def _by_series(chart: Chart, found: Iterable[Result]) -> list[Chart]:
    """The chart once for each of its series; names in a scatter chart tell the series."""
    if not chart.series or chart.kind == "scatter":
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


def draw(lab: Lab, chart: Chart, found: dict[str, list[Result]], *, y_line: Across | None = None) -> SafeString | None:
    """One chart; `found` holds the results by role (`reference`, `own`), or by the titles of runs."""
    metric = lab.metric(chart.metric)
    shown = {role: [r for r in group if _belongs(chart, r)] for role, group in found.items()}
    if not any(shown.values()):
        return None
    if chart.kind == "heat":
        return _heat_map(chart, shown, value_title(metric))
    if chart.kind == "scatter":
        return _scatter(lab, chart, shown, found, y_line)
    common = {
        "title": str(chart.title),
        "x_title": str(chart.x_title) or chart.x,
        "y_title": value_title(metric),
        "y_line": y_line,
    }
    if chart.kind == "bar":
        categories = list(dict.fromkeys(r.settings[chart.x] for group in shown.values() for r in group))
        titles = [str(chart.x_titles.get(name, name)) for name in categories]
        return bar_chart(_series(chart, shown, categories), categories=titles, **common)  # type: ignore[arg-type]
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


def _scatter(
    lab: Lab, chart: Chart, shown: dict[str, list[Result]], found: dict[str, list[Result]], y_line: Across | None
) -> SafeString | None:
    """Points that have both metrics. Beside other runs, each run is a series of its own, with its own front."""
    x_metric, y_metric = lab.metric(chart.x_metric), lab.metric(chart.metric)
    is_comparison = not set(shown) <= set(get_args(Role))
    marks: dict[tuple[str, str], list[PlotPoint]] = {}
    for role, group in shown.items():
        across = {r.point: r.interval for r in found[role] if r.name == chart.x_metric}
        for result in group:
            x = across.get(result.point)
            if x is not None and (x.mean > 0 or not chart.log_x):
                of_series = "" if is_comparison else result.settings.get(chart.series, "")
                mark = _mark(chart, result, x, with_series=is_comparison)
                marks.setdefault((role, of_series), []).append(mark)
    if not marks:
        return None
    return scatter_chart(
        [
            Series(role, points)
            if is_comparison
            else Series(_series_title(chart, name), points, role=cast("Role", role))
            for (role, name), points in marks.items()
        ],
        title=str(chart.title),
        x_title=value_title(x_metric),
        y_title=value_title(y_metric),
        name_title=str(chart.x_title) or chart.x,
        log_x=chart.log_x,
        log_y=chart.log_y,
        better=better_of(x_metric, y_metric),
        apart=is_comparison,
        y_line=y_line,
    )


def better_of(x: Metric, y: Metric) -> tuple[Better, Better] | None:
    """In which direction two metrics are better, where both say so: only then is there a front."""
    return (x.better, y.better) if x.better and y.better else None


def _mark(chart: Chart, result: Result, x: Summary, *, with_series: bool) -> PlotPoint:
    """A named point."""
    place, y = result.settings[chart.x], result.interval
    name = str(chart.x_titles.get(place, place))
    if with_series and chart.series:
        name += f" · {_series_title(chart, result.settings[chart.series])}"
    x_low, x_high = drawn_ends(x, log=chart.log_x)
    low, high = drawn_ends(y, log=chart.log_y)
    return PlotPoint(x.mean, y.mean, low, high, x_low, x_high, name)


def drawn_ends(found: Summary, *, log: bool) -> tuple[float | None, float | None]:
    """The ends of an interval; none where all seeds agree (a count), or where it leaves a logarithmic axis."""
    if found.low == found.high or (log and found.low is not None and found.low <= 0):
        return None, None
    return found.low, found.high


def _series_title(chart: Chart, name: str) -> str:
    return str(chart.series_titles.get(name, name)) or _("measured")


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
    return chart.log_y and chart.kind in ("line", "scatter")


def _series(chart: Chart, shown: dict[str, list[Result]], categories: list[str] | None = None) -> list[Series]:
    series = []
    for role, group in shown.items():
        names = list(dict.fromkeys(result.settings.get(chart.series, "") for result in group))
        for name in names:
            points = [_plot(chart, r, categories) for r in group if r.settings.get(chart.series, "") == name]
            label = _series_title(chart, name)
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
