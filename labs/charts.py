"""Charts as SVG made on the server: no script, no style attribute, colours from static/css/charts.css.

A chart never stands alone: the page prints the same numbers in a table beside it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, tostring

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

Role = Literal["reference", "own"]

COLOURS = 6  # classes s0 … s5 in charts.css
SHADES = 9  # classes h0 … h8 in charts.css, of heat maps
MARKED = 30  # points of a line that each get a marker; a longer line has one at its end
MARKER = 4.5  # half of a marker's width, in viewBox units
LETTER = 11.0  # width of a digit in the large print of phones, for the left margin
TOP, RIGHT, BOTTOM = 14.0, 22.0, 62.0

# Corners of the markers of series 1 to 5, as multiples of MARKER; series 0 has a circle.
CORNERS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    ((0, -1.2), (1.15, 0.9), (-1.15, 0.9)),
    ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    ((0, 1.2), (1.15, -0.9), (-1.15, -0.9)),
    ((-0.6, -1), (0.6, -1), (1.2, 0), (0.6, 1), (-0.6, 1), (-1.2, 0)),
)


@dataclass(frozen=True)
class PlotPoint:
    """One value, with the ends of its 95 % interval where there is one. In a bar chart `x` counts the categories."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        for name in ("x", "y", "low", "high"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"Invalid {name} of a plotted point: {value} (must be finite)")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"Invalid interval of a plotted point: {self.low} to {self.high} (give both ends or none)")

    @property
    def ends(self) -> tuple[float, ...]:
        """The interval's ends, or nothing."""
        return () if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True)
class Series:
    """Points under one label. A reader's own run has the label of the reference series that it repeats."""

    label: str
    points: Sequence[PlotPoint]
    role: Role = "reference"


@dataclass(frozen=True)
class Cell:
    """One value of a heat map, by the places of its row and its column."""

    row: int
    column: int
    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"Invalid value of a cell: {self.value} (must be finite)")


@dataclass(frozen=True)
class Grid:
    """The cells of one run; a place without a cell stays empty."""

    cells: Sequence[Cell]
    role: Role = "reference"


@dataclass(frozen=True)
class Axis:
    """Maps values to viewBox units; `start` is where `low` goes."""

    low: float
    high: float
    ticks: tuple[float, ...]
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        scale: Callable[[float], float] = math.log if self.log else float
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class Frame:
    """What every part of one chart needs."""

    svg: Element
    x: Axis
    y: Axis


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_title: str,
    y_title: str,
    log_x: bool = False,
    log_y: bool = False,
    y_line: float | None = None,
    width: int = 640,
    height: int = 360,
) -> SafeString:
    """Lines with markers over a numeric x; `y_line` is a claimed value, drawn across.

    Raises ValueError when there is no point, a value is not finite, or a logarithmic axis meets a value ≤ 0.
    """
    points = [p for s in series for p in s.points]
    y_values = [v for p in points for v in (p.y, *p.ends)] + ([y_line] if y_line is not None else [])
    _check(points, [p.x for p in points] if log_x else [], y_values if log_y else [])
    box = _box(series, title, y_title)
    svg = _drawing(box, title, _description(series, x_title, y_title), width, height)
    y = make_axis(y_values, height - BOTTOM, TOP, log=log_y)
    # Markers stay clear of the frame.
    x = make_axis([p.x for p in points], _left(y) + 10, width - RIGHT, log=log_x, fit=True)
    frame = Frame(svg, x, y)
    _draw_y_axis(frame, width)
    _draw_x_axis(frame, [(tick, format_tick(tick, x.ticks)) for tick in x.ticks], x_title, width, height)
    if y_line is not None:
        _draw_claimed(frame, y_line, width)
    for index, one in _coloured(series):
        _draw_line_series(frame, one, index)
    return _to_html(box)


def bar_chart(
    series: Sequence[Series],
    *,
    categories: Sequence[str],
    title: str,
    x_title: str,
    y_title: str,
    y_line: float | None = None,
    width: int = 640,
    height: int = 360,
) -> SafeString:
    """Bars from zero, grouped by category: a point with x = 0 belongs to the first one.

    Raises ValueError when there is no point, a value is not finite, or a point has no category.
    """
    points = [p for s in series for p in s.points]
    _check(points, [], [])
    if any(p.x not in range(len(categories)) for p in points):
        raise ValueError(f"Invalid bar chart: a point's x is not one of the {len(categories)} categories")
    box = _box(series, title, y_title)
    svg = _drawing(box, title, _description(series, x_title, y_title, categories), width, height)
    y_values = [v for p in points for v in (p.y, *p.ends)] + ([y_line] if y_line is not None else [])
    y = make_axis([0, *y_values], height - BOTTOM, TOP)
    x = Axis(-0.5, len(categories) - 0.5, (), _left(y), width - RIGHT)
    frame = Frame(svg, x, y)
    _draw_y_axis(frame, width)
    _draw_x_axis(frame, list(enumerate(categories)), x_title, width, height)
    _draw_bars(frame, series, categories)
    if y_line is not None:
        _draw_claimed(frame, y_line, width)
    return _to_html(box)


def heat_map(
    grids: Sequence[Grid],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    x_title: str,
    value_title: str,
    width: int = 640,
) -> SafeString:
    """Values over two kinds of categories as shades, the stronger the larger; several runs share one scale.

    The numbers themselves are in a table that opens below each drawing. Raises ValueError when there is no cell, a
    value is not finite, or a cell lies outside the grid.
    """
    cells = [cell for grid in grids for cell in grid.cells]
    if not cells:
        raise ValueError("Invalid heat map: it has no cells")
    if any(c.row not in range(len(rows)) or c.column not in range(len(columns)) for c in cells):
        raise ValueError(f"Invalid heat map: a cell lies outside the {len(rows)} × {len(columns)} places")
    low, high = min(cell.value for cell in cells), max(cell.value for cell in cells)
    box = Element("div", {"class": "chart"})
    _add(box, "p", title, class_="heading")
    _add_scale(box, low, high, value_title)
    texts = HeatTexts(title, x_title, value_title)
    for grid in grids:
        if len(grids) > 1 or grid.role == "own":
            _add(box, "p", _("Your run") if grid.role == "own" else _("Reference"), class_="y-title")
        map_ = HeatMap(grid, rows, columns, low, high)
        _draw_heat_map(box, map_, texts, width)
        _add_heat_table(box, map_, x_title)
    return _to_html(box)


@dataclass(frozen=True)
class HeatTexts:
    """What a heat map says about itself."""

    title: str
    x: str
    value: str


@dataclass(frozen=True)
class HeatMap:
    """A grid with what its drawing and its table need."""

    grid: Grid
    rows: Sequence[str]
    columns: Sequence[str]
    low: float
    high: float

    def shade(self, value: float) -> int:
        """Which of the shades a value has; all have the middle one where all are equal."""
        if self.low == self.high:
            return SHADES // 2
        return min(int((value - self.low) / (self.high - self.low) * SHADES), SHADES - 1)

    def description(self, value_title: str) -> str:
        """The map in words: its range and the mean of each row."""
        values = {"title": value_title, "low": f"{self.low:.4g}", "high": f"{self.high:.4g}"}
        sentences = [_("%(title)s, from %(low)s to %(high)s.") % values]
        for i, row in enumerate(self.rows):
            of_row = [cell.value for cell in self.grid.cells if cell.row == i]
            if of_row:
                mean = f"{math.fsum(of_row) / len(of_row):.4g}"
                sentences.append(_("%(label)s: %(mean)s on average.") % {"label": row, "mean": mean})
        return " ".join(sentences)


# Axes ----------------------------------------------------------------------------------------------------------------


def make_axis(values: Sequence[float], start: float, end: float, *, log: bool = False, fit: bool = False) -> Axis:
    """An axis that holds all values, with round ticks; with `fit` it ends at the values, otherwise at the ticks."""
    low, high = min(values), max(values)
    if log:
        ticks = log_ticks(low, high, values)
        low, high = min(low, ticks[0]), max(high, ticks[-1])
        if low == high:
            low, high = low / 2, high * 2
        if not fit:  # no marker lies on the frame
            low, high = low * (low / high) ** 0.05, high * (high / low) ** 0.05
        return Axis(low, high, ticks, start, end, log=True)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    ticks = linear_ticks(low, high)
    if fit:
        return Axis(low, high, tuple(t for t in ticks if low <= t <= high), start, end)
    return Axis(min(low, ticks[0]), max(high, ticks[-1]), ticks, start, end)


def linear_ticks(low: float, high: float) -> tuple[float, ...]:
    """Four to nine multiples of 1, 2 or 5 × 10ⁿ that reach from `low` or below to `high` or above."""
    rough = (high - low) / 6
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(i * step, 12 - math.floor(math.log10(step))) for i in range(first, last + 1))


def log_ticks(low: float, high: float, values: Iterable[float]) -> tuple[float, ...]:
    """Powers of two where all values are (ranks), otherwise 10ⁿ, with steps between them where that gives too few."""
    if all(math.log2(v).is_integer() for v in values):
        first, last = round(math.log2(low)), round(math.log2(high))
        step = math.ceil((last - first + 1) / 10)
        return tuple(2.0**i for i in range(first, last + 1, step))
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [float(f"{m}e{n}") for n in decades for m in factors]
        inside = tuple(t for t in ticks if low <= t <= high)
        if len(inside) >= 4:
            return inside
    below = max(t for t in ticks if t <= low)
    return below, min(t for t in ticks if t >= high and t > below)


def format_tick(value: float, ticks: Sequence[float]) -> str:
    """A tick's label: even ticks share their decimals and their suffix (k, M, G); uneven ones each have their own."""
    steps = [b - a for a, b in pairwise(ticks)]
    is_even = bool(steps) and max(steps) <= 1.001 * min(steps)
    largest = max(abs(t) for t in ticks) if is_even else abs(value)
    for least, size, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value and largest >= least and (is_even or size > 1e3 or value % 1e3 == 0):
            return f"{value / size:.4g}{suffix}"
    if not is_even:
        return f"{value:.6g}"
    decimals = max(0, -math.floor(math.log10(steps[0]) + 1e-9))
    return f"{value:,.{decimals}f}" if decimals <= 6 else f"{value:.3g}"


def _left(y: Axis) -> float:
    return 20 + LETTER * max(len(format_tick(t, y.ticks)) for t in y.ticks)


# Parts ---------------------------------------------------------------------------------------------------------------


def _check(points: Sequence[PlotPoint], *logarithmic: Sequence[float]) -> None:
    if not points:
        raise ValueError("Invalid chart: it has no points")
    for values in logarithmic:
        if values and min(values) <= 0:
            raise ValueError(f"Invalid value on a logarithmic axis: {min(values)} (must be above 0)")


def _add(parent: Element, tag: str, text: str = "", **attributes: float | str) -> Element:
    """A child element; `class_` stands for class, an underscore for a hyphen, and numbers are rounded."""
    named = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items()}
    child = SubElement(parent, tag, {k: v if isinstance(v, str) else f"{v:.2f}" for k, v in named.items()})
    child.text = text or None
    return child


def _coloured(series: Sequence[Series]) -> list[tuple[int, Series]]:
    """Each series with its colour: own and reference series of one label share theirs."""
    labels = list(dict.fromkeys(s.label for s in series))
    return [(labels.index(s.label) % COLOURS, s) for s in series]


def _name(one: Series, series: Sequence[Series]) -> str:
    """The label in the legend; the reference says so only beside a reader's own run."""
    if one.role == "own":
        return _("%(label)s, your run") % {"label": one.label}
    if any(s.role == "own" for s in series):
        return _("%(label)s, reference") % {"label": one.label}
    return one.label


def _description(series: Sequence[Series], x_title: str, y_title: str, categories: Sequence[str] = ()) -> str:
    """The chart in words: where each series starts and ends."""

    def place(point: PlotPoint) -> str:
        return categories[int(point.x)] if categories else f"{point.x:g}"

    sentences = [_("%(y)s against %(x)s.") % {"y": y_title, "x": x_title}]
    for one in series:
        if not one.points:
            continue
        first, last = one.points[0], one.points[-1]
        values = {"label": _name(one, series), "y0": f"{first.y:.4g}", "x0": place(first)}
        values |= {"y1": f"{last.y:.4g}", "x1": place(last)}
        sentences.append(_("%(label)s: %(y0)s at %(x0)s, %(y1)s at %(x1)s.") % values)
    return " ".join(sentences)


def _box(series: Sequence[Series], title: str, y_title: str) -> Element:
    """What stands above the drawing, as HTML, so that it wraps on a phone: heading, legend, title of the y axis."""
    box = Element("div", {"class": "chart"})
    _add(box, "p", title, class_="heading")
    if len(series) > 1 or any(s.role == "own" for s in series):
        legend = _add(box, "ul", class_="legend")
        for index, one in _coloured(series):
            item = _add(legend, "li")
            sample = _add(item, "svg", viewBox="0 0 34 14", width="34", height="14", aria_hidden="true")
            group = _add(sample, "g", class_=f"s{index} {one.role}")
            _add(group, "path", d="M1 7H33", class_="line")
            _draw_marker(group, index, 17, 7)
            sample.tail = _name(one, series)
    _add(box, "p", y_title, class_="y-title", aria_hidden="true")
    return box


def _drawing(box: Element, title: str, description: str, width: int, height: int) -> Element:
    attributes = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", "role": "img"}
    svg = SubElement(box, "svg", attributes)
    _add(svg, "title", title)
    _add(svg, "desc", description)
    return svg


def _draw_y_axis(frame: Frame, width: int) -> None:
    left = _left(frame.y)
    for tick in frame.y.ticks:
        y = frame.y.place(tick)
        group = _add(frame.svg, "g", class_="tick")
        _add(group, "line", x1=left, x2=width - RIGHT, y1=y, y2=y, class_="axis" if tick == 0 else "grid")
        _add(group, "text", format_tick(tick, frame.y.ticks), x=left - 8, y=y + 5, text_anchor="end")


def _draw_x_axis(frame: Frame, labels: Sequence[tuple[float, str]], x_title: str, width: int, height: int) -> None:
    left, bottom = _left(frame.y), height - BOTTOM
    _add(frame.svg, "line", x1=left, x2=width - RIGHT, y1=bottom, y2=bottom, class_="axis")
    for value, label in labels:
        x = frame.x.place(value)
        group = _add(frame.svg, "g", class_="tick")
        _add(group, "line", x1=x, x2=x, y1=bottom, y2=bottom + 5, class_="axis")
        _add(group, "text", label, x=x, y=bottom + 25, text_anchor="middle")
    _add(
        frame.svg,
        "text",
        x_title,
        x=(left + width - RIGHT) / 2,
        y=height - 8,
        text_anchor="middle",
        class_="axis-title",
    )


def _draw_claimed(frame: Frame, value: float, width: int) -> None:
    y = frame.y.place(value)
    _add(frame.svg, "line", x1=_left(frame.y), x2=width - RIGHT, y1=y, y2=y, class_="claimed")
    label = pgettext("a value that a claim gives, on a chart", "claimed: %(value)s") % {"value": f"{value:.4g}"}
    _add(frame.svg, "text", label, x=width - RIGHT, y=y - 6, text_anchor="end", class_="claimed-label")


def _draw_line_series(frame: Frame, one: Series, index: int) -> None:
    group = _add(frame.svg, "g", class_=f"s{index} {one.role}")
    points = sorted(one.points, key=lambda p: p.x)
    places = [(frame.x.place(p.x), frame.y.place(p.y)) for p in points]
    with_ends = [p for p in points if p.ends]
    if one.role == "reference" and len(with_ends) > 1:
        edge = [(p.x, p.ends[1]) for p in with_ends] + [(p.x, p.ends[0]) for p in reversed(with_ends)]
        corners = " ".join(f"{frame.x.place(x):.2f},{frame.y.place(y):.2f}" for x, y in edge)
        _add(group, "polygon", points=corners, class_="band")
    else:
        for point in with_ends:
            _draw_whisker(group, frame, point, frame.x.place(point.x))
    if len(places) > 1:
        _add(group, "path", d="M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in places), class_="line")
    marked = list(zip(points, places, strict=True))
    for point, (x, y) in marked if len(marked) <= MARKED else marked[-1:]:
        marker = _draw_marker(group, index, x, y, 1.3 if one.role == "own" else 1)
        _add(marker, "title", _value_text(one.label, f"{point.x:g}", point))


def _draw_bars(frame: Frame, series: Sequence[Series], categories: Sequence[str]) -> None:
    slot = (frame.x.place(1) - frame.x.place(0)) * 0.76
    bar_width = min(slot / len(series), 72)
    for position, (index, one) in enumerate(_coloured(series)):
        group = _add(frame.svg, "g", class_=f"s{index} {one.role}")
        for point in one.points:
            left = frame.x.place(point.x) + (position - len(series) / 2) * bar_width
            bar = _draw_bar(group, frame, point.y, left + 1.5, max(bar_width - 3, 1))
            _add(bar, "title", _value_text(one.label, categories[int(point.x)], point))
            if point.ends:
                _draw_whisker(group, frame, point, left + bar_width / 2)


def _draw_bar(group: Element, frame: Frame, value: float, left: float, width: float) -> Element:
    top, bottom = sorted((frame.y.place(value), frame.y.place(0)))
    return _add(group, "rect", x=left, y=top, width=width, height=bottom - top, rx="2", class_="bar")


def _draw_whisker(group: Element, frame: Frame, point: PlotPoint, x: float) -> None:
    low, high = (frame.y.place(v) for v in point.ends)
    path = f"M{x - 4:.2f} {low:.2f}h8M{x:.2f} {low:.2f}V{high:.2f}M{x - 4:.2f} {high:.2f}h8"
    _add(group, "path", d=path, class_="error")


def _draw_marker(group: Element, index: int, x: float, y: float, size: float = 1) -> Element:
    if index == 0:
        return _add(group, "circle", cx=x, cy=y, r=MARKER * size, class_="mark")
    corners = " ".join(f"{x + dx * MARKER * size:.2f},{y + dy * MARKER * size:.2f}" for dx, dy in CORNERS[index - 1])
    return _add(group, "polygon", points=corners, class_="mark")


def _add_scale(box: Element, low: float, high: float, value_title: str) -> None:
    """Which shade means what."""
    scale = _add(box, "p", f"{value_title}: {low:.4g} ", class_="scale")
    sample = _add(scale, "svg", viewBox=f"0 0 {12 * SHADES} 12", width=f"{12 * SHADES}", height="12")
    sample.set("aria-hidden", "true")
    for i in range(SHADES):
        _add(sample, "rect", x=12.0 * i, y=0.0, width=12.0, height=12.0, class_=f"cell h{i}")
    sample.tail = f" {high:.4g}"


def _draw_heat_map(box: Element, map_: HeatMap, texts: HeatTexts, width: int) -> None:
    left = 20 + LETTER * max(len(row) for row in map_.rows)
    cell_width, cell_height = (width - left - RIGHT) / len(map_.columns), 26.0
    bottom = TOP + cell_height * len(map_.rows)
    svg = _drawing(box, texts.title, map_.description(texts.value), width, round(bottom + BOTTOM))
    for i, row in enumerate(map_.rows):
        group = _add(svg, "g", class_="tick")
        _add(group, "text", row, x=left - 8, y=TOP + cell_height * (i + 0.5) + 5, text_anchor="end")
    # Labels keep clear of each other in the large print of phones.
    letters = max(len(column) for column in map_.columns) + 1
    for j in range(0, len(map_.columns), math.ceil(LETTER * letters / cell_width)):
        group = _add(svg, "g", class_="tick")
        _add(group, "text", map_.columns[j], x=left + cell_width * (j + 0.5), y=bottom + 22, text_anchor="middle")
    middle = (left + width - RIGHT) / 2
    _add(svg, "text", texts.x, x=middle, y=bottom + BOTTOM - 8, text_anchor="middle", class_="axis-title")
    for cell in map_.grid.cells:
        x, y = left + cell_width * cell.column, TOP + cell_height * cell.row
        shade = f"cell h{map_.shade(cell.value)}"
        rect = _add(svg, "rect", x=x, y=y, width=cell_width, height=cell_height, class_=shade)
        _add(rect, "title", f"{map_.rows[cell.row]}, {texts.x} {map_.columns[cell.column]}: {cell.value:.4g}")


def _add_heat_table(box: Element, map_: HeatMap, x_title: str) -> None:
    """Columns become rows, because a page is narrow and has no end below."""
    details = _add(box, "details")
    _add(details, "summary", _("The numbers as a table"))
    scroll = _add(details, "div", class_="scroll", tabindex="0")
    table = _add(scroll, "table")
    head = _add(_add(table, "thead"), "tr")
    for name in (x_title, *map_.rows):
        _add(head, "th", name, scope="col")
    values = {(cell.row, cell.column): f"{cell.value:.4g}" for cell in map_.grid.cells}
    body = _add(table, "tbody")
    for j, column in enumerate(map_.columns):
        line = _add(body, "tr")
        _add(line, "th", column, scope="row")
        for i in range(len(map_.rows)):
            _add(line, "td", values.get((i, j), "—"), class_="number")


def _value_text(label: str, place: str, point: PlotPoint) -> str:
    interval = f" [{point.low:.4g}, {point.high:.4g}]" if point.ends else ""
    return f"{label}, {place}: {point.y:.4g}{interval}"


def _to_html(box: Element) -> SafeString:
    """ElementTree has escaped every label, so the result is safe."""
    return SafeString(tostring(box, encoding="unicode"))
