"""What the kinds of charts share: points and series, the box around a drawing, its axes, and marks in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from unicodedata import east_asian_width
from xml.etree.ElementTree import Element, SubElement, tostring

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from labs.charts.axes import Axis, format_tick

Role = Literal["reference", "own"]

COLOURS = 7  # classes s0 … s6 in charts.css
MARKER = 4.5  # half of a marker's width, in viewBox units
LETTER = 11.0  # width of a digit in the large print of phones, for the left margin
TOP, RIGHT, BOTTOM = 14.0, 22.0, 62.0
SIDE = 22.0  # left and right of lying bars: half of the number below the outermost tick

# Corners of the markers of series 1 to 6, as multiples of MARKER; series 0 has a circle.
CORNERS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    ((0, -1.2), (1.15, 0.9), (-1.15, 0.9)),
    ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    ((0, 1.2), (1.15, -0.9), (-1.15, -0.9)),
    ((-0.6, -1), (0.6, -1), (1.2, 0), (0.6, 1), (-0.6, 1), (-1.2, 0)),
    ((-1.2, -1), (0, -0.3), (1.2, -1), (1.2, 1), (0, 0.3), (-1.2, 1)),
)


@dataclass(frozen=True)
class PlotPoint:
    """One value, with the ends of its 95 % interval where there is one. In a bar chart `x` counts the categories.

    In a scatter chart a point has a name, and x may have an interval too.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    x_low: float | None = None
    x_high: float | None = None
    name: str = ""

    def __post_init__(self) -> None:
        for name in ("x", "y", "low", "high", "x_low", "x_high"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"Invalid {name} of a plotted point: {value} (must be finite)")
        for low, high in ((self.low, self.high), (self.x_low, self.x_high)):
            if (low is None) != (high is None):
                raise ValueError(f"Invalid interval of a plotted point: {low} to {high} (give both ends or none)")

    @property
    def ends(self) -> tuple[float, ...]:
        """The interval's ends, or nothing."""
        return () if self.low is None or self.high is None else (self.low, self.high)

    @property
    def x_ends(self) -> tuple[float, ...]:
        """The ends of x's interval, or nothing."""
        return () if self.x_low is None or self.x_high is None else (self.x_low, self.x_high)


@dataclass(frozen=True)
class Series:
    """Points under one label. A reader's own run has the label of the reference series that it repeats."""

    label: str
    points: Sequence[PlotPoint]
    role: Role = "reference"


@dataclass(frozen=True)
class Frame:
    """What every part of one chart needs."""

    svg: Element
    x: Axis
    y: Axis


def check(points: Sequence[PlotPoint], *logarithmic: Sequence[float]) -> None:
    if not points:
        raise ValueError("Invalid chart: it has no points")
    for values in logarithmic:
        if values and min(values) <= 0:
            raise ValueError(f"Invalid value on a logarithmic axis: {min(values)} (must be above 0)")


def add(parent: Element, tag: str, text: str = "", **attributes: float | str) -> Element:
    """A child element; `class_` stands for class, an underscore for a hyphen, and numbers are rounded."""
    named = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items()}
    child = SubElement(parent, tag, {k: v if isinstance(v, str) else f"{v:.2f}" for k, v in named.items()})
    child.text = text or None
    return child


def coloured(series: Sequence[Series]) -> list[tuple[int, Series]]:
    """Each series with its colour: own and reference series of one label share theirs."""
    labels = list(dict.fromkeys(s.label for s in series))
    return [(labels.index(s.label) % COLOURS, s) for s in series]


def width_of(text: str) -> float:
    """About as wide as it is in the large print of phones, in viewBox units."""
    return LETTER * sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def name_of(one: Series, series: Sequence[Series]) -> str:
    """The label in the legend; the reference says so only beside a reader's own run."""
    if one.role == "own":
        return _("%(label)s, your run") % {"label": one.label}
    if any(s.role == "own" for s in series):
        return _("%(label)s, reference") % {"label": one.label}
    return one.label


def description(series: Sequence[Series], x_title: str, y_title: str, categories: Sequence[str] = ()) -> str:
    """The chart in words: where each series starts and ends."""

    def place(point: PlotPoint) -> str:
        return categories[int(point.x)] if categories else f"{point.x:g}"

    sentences = [_("%(y)s against %(x)s.") % {"y": y_title, "x": x_title}]
    for one in series:
        if not one.points:
            continue
        first, last = one.points[0], one.points[-1]
        values = {"label": name_of(one, series), "y0": f"{first.y:.4g}", "x0": place(first)}
        values |= {"y1": f"{last.y:.4g}", "x1": place(last)}
        sentences.append(_("%(label)s: %(y0)s at %(x0)s, %(y1)s at %(x1)s.") % values)
    return " ".join(sentences)


def box_of(
    series: Sequence[Series], title: str, y_title: str, *, has_lines: bool = True, has_front: bool = False
) -> Element:
    """What stands above the drawing, as HTML, so that it wraps on a phone: heading, legend, title of the y axis."""
    box = Element("div", {"class": "chart"})
    add(box, "p", title, class_="heading")
    has_series = len(series) > 1 or any(s.role == "own" for s in series)
    if has_series or has_front:
        legend = add(box, "ul", class_="legend")
        for index, one in coloured(series) if has_series else []:
            group = _add_sample(legend, f"s{index} {one.role}", name_of(one, series))
            if has_lines:
                add(group, "path", d="M1 7H33", class_="line")
            draw_marker(group, index, 17, 7)
        if has_front:
            group = _add_sample(legend, "reference", _("Pareto front: no other is better in both"))
            add(group, "path", d="M1 3H17V11H33", class_="front")
    add(box, "p", y_title, class_="y-title", aria_hidden="true")
    return box


def _add_sample(legend: Element, css_class: str, label: str) -> Element:
    """A line of the legend; what is drawn beside its label goes into the returned group."""
    sample = add(add(legend, "li"), "svg", viewBox="0 0 34 14", width="34", height="14", aria_hidden="true")
    sample.tail = label
    return add(sample, "g", class_=css_class)


def drawing(box: Element, title: str, description: str, width: int, height: int) -> Element:
    attributes = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", "role": "img"}
    svg = SubElement(box, "svg", attributes)
    add(svg, "title", title)
    add(svg, "desc", description)
    return svg


def left_of(y: Axis) -> float:
    return 20 + LETTER * max(len(format_tick(t, y.ticks)) for t in y.ticks)


def draw_y_axis(frame: Frame, width: int) -> None:
    left = left_of(frame.y)
    for tick in frame.y.ticks:
        y = frame.y.place(tick)
        group = add(frame.svg, "g", class_="tick")
        add(group, "line", x1=left, x2=width - RIGHT, y1=y, y2=y, class_="axis" if tick == 0 else "grid")
        add(group, "text", format_tick(tick, frame.y.ticks), x=left - 8, y=y + 5, text_anchor="end")


def draw_x_axis(frame: Frame, labels: Sequence[tuple[float, str]], x_title: str, width: int, height: int) -> None:
    left, bottom = left_of(frame.y), height - BOTTOM
    add(frame.svg, "line", x1=left, x2=width - RIGHT, y1=bottom, y2=bottom, class_="axis")
    for value, label in labels:
        x = frame.x.place(value)
        group = add(frame.svg, "g", class_="tick")
        add(group, "line", x1=x, x2=x, y1=bottom, y2=bottom + 5, class_="axis")
        add(group, "text", label, x=x, y=bottom + 25, text_anchor="middle")
    add(
        frame.svg,
        "text",
        x_title,
        x=(left + width - RIGHT) / 2,
        y=height - 8,
        text_anchor="middle",
        class_="axis-title",
    )


@dataclass(frozen=True)
class Across:
    """A value drawn across a chart, with what it is."""

    value: float
    label: str


def claimed(value: float) -> Across:
    return Across(value, pgettext("a value that a claim gives, on a chart", "claimed: %(value)s") % _shown(value))


def predicted(value: float) -> Across:
    return Across(
        value, pgettext("a value that a learner expected, on a chart", "predicted: %(value)s") % _shown(value)
    )


def _shown(value: float) -> dict[str, str]:
    return {"value": f"{value:.4g}"}


def draw_across(frame: Frame, line: Across, width: int) -> None:
    y = frame.y.place(line.value)
    add(frame.svg, "line", x1=left_of(frame.y), x2=width - RIGHT, y1=y, y2=y, class_="across")
    add(frame.svg, "text", line.label, x=width - RIGHT, y=y - 6, text_anchor="end", class_="across-label")


def draw_axis_below(svg: Element, x: Axis, top: float, bottom: float) -> None:
    """The values of a chart whose bars lie: a line down at each tick, its number below."""
    for tick in x.ticks:
        place = x.place(tick)
        group = add(svg, "g", class_="tick")
        add(group, "line", x1=place, x2=place, y1=top, y2=bottom, class_="axis" if tick == 0 else "grid")
        add(group, "text", format_tick(tick, x.ticks), x=place, y=bottom + 22, text_anchor="middle")


def draw_down(svg: Element, x: Axis, line: Across, top: float, bottom: float) -> None:
    """A value drawn down a chart whose bars lie, its label on top and not over the edge."""
    place, half = x.place(line.value), width_of(line.label) / 2
    middle = max(half, min(place, x.end + SIDE - half))
    add(svg, "line", x1=place, x2=place, y1=top, y2=bottom, class_="across")
    add(svg, "text", line.label, x=middle, y=top - 6, text_anchor="middle", class_="across-label")


def draw_whisker(group: Element, frame: Frame, point: PlotPoint, x: float) -> None:
    low, high = (frame.y.place(v) for v in point.ends)
    path = f"M{x - 4:.2f} {low:.2f}h8M{x:.2f} {low:.2f}V{high:.2f}M{x - 4:.2f} {high:.2f}h8"
    add(group, "path", d=path, class_="error")


def draw_marker(group: Element, index: int, x: float, y: float, size: float = 1) -> Element:
    if index == 0:
        return add(group, "circle", cx=x, cy=y, r=MARKER * size, class_="mark")
    corners = " ".join(f"{x + dx * MARKER * size:.2f},{y + dy * MARKER * size:.2f}" for dx, dy in CORNERS[index - 1])
    return add(group, "polygon", points=corners, class_="mark")


def add_table(box: Element, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The numbers of a drawing, to be opened below it; the first of each row says what it is about."""
    details = add(box, "details")
    add(details, "summary", _("The numbers as a table"))
    table = add(add(details, "div", class_="scroll", tabindex="0"), "table")
    line = add(add(table, "thead"), "tr")
    for name in head:
        add(line, "th", name, scope="col")
    body = add(table, "tbody")
    for row in rows:
        line = add(body, "tr")
        add(line, "th", row[0], scope="row")
        for cell in row[1:]:
            add(line, "td", cell, class_="number")


def value_text(label: str, place: str, point: PlotPoint) -> str:
    interval = f" [{point.low:.4g}, {point.high:.4g}]" if point.ends else ""
    return f"{label}, {place}: {point.y:.4g}{interval}"


def to_html(box: Element) -> SafeString:
    """ElementTree has escaped every label, so the result is safe."""
    return SafeString(tostring(box, encoding="unicode"))
