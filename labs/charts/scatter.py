"""Scatter charts: things by two of their values, each with its name, and the Pareto front of the best."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal
from xml.etree.ElementTree import Element

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from labs.charts.axes import format_tick, make_axis
from labs.charts.parts import (
    BOTTOM,
    LETTER,
    MARKER,
    RIGHT,
    TOP,
    Across,
    Frame,
    PlotPoint,
    Series,
    add,
    add_table,
    box_of,
    check,
    coloured,
    draw_across,
    draw_marker,
    draw_whisker,
    draw_x_axis,
    draw_y_axis,
    drawing,
    left_of,
    name_of,
    to_html,
)

Better = Literal["lower", "higher"]
Rectangle = tuple[float, float, float, float]  # left, top, right, bottom

SMALL_LETTER = 8.2  # width of a letter beside a mark that is not on the front: only large drawings have it
GAPS = (9.0, 24.0, 40.0)  # how far from its mark a name may stand; beyond the first a thin line leads to it
SIDES = ((1, 0), (-1, 0), (0, -1), (0, 1), (0.7, -0.7), (-0.7, -0.7), (0.7, 0.7), (-0.7, 0.7))


def pareto_front(points: Iterable[PlotPoint], better: tuple[Better, Better]) -> list[PlotPoint]:
    """The points that no other beats, from left to right: none is as good in both values and better in one."""
    x_sign, y_sign = (1 if one == "lower" else -1 for one in better)
    front: list[PlotPoint] = []
    for point in sorted(points, key=lambda p: (x_sign * p.x, y_sign * p.y)):
        is_twin = bool(front) and (point.x, point.y) == (front[-1].x, front[-1].y)
        if not front or is_twin or y_sign * point.y < y_sign * front[-1].y:
            front.append(point)
    return sorted(front, key=lambda p: p.x)


@dataclass(frozen=True)
class Front:
    """A Pareto front over some of the series; that of a single series has its colour."""

    points: list[PlotPoint]
    better: tuple[Better, Better]
    css_class: str

    def path(self, frame: Frame) -> str:
        """Steps through the points: between two of them, the best that is to be had there."""
        places = [(frame.x.place(p.x), frame.y.place(p.y)) for p in self.points]
        path = f"M{places[0][0]:.2f} {places[0][1]:.2f}"
        for (_x, _y), (x, y) in pairwise(places):
            path += f"H{x:.2f}V{y:.2f}" if self.better[0] == "lower" else f"V{y:.2f}H{x:.2f}"
        return path


def scatter_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_title: str,
    y_title: str,
    name_title: str,
    log_x: bool = False,
    log_y: bool = False,
    better: tuple[Better, Better] | None = None,
    apart: bool = False,
    y_line: Across | None = None,
    width: int = 640,
    height: int = 420,
) -> SafeString:
    """Named marks, with intervals both ways; `better` says in which direction x and y are, and so what the front is.

    There is one front a role, or with `apart` one a series. Where marks crowd, names that find no place are left to
    the table below, which says what `name_title` names. Raises ValueError as `line_chart` does.
    """
    points = [p for s in series for p in s.points]
    x_values = [v for p in points for v in (p.x, *p.x_ends)]
    y_values = [v for p in points for v in (p.y, *p.ends)] + ([y_line.value] if y_line else [])
    check(points, x_values if log_x else [], y_values if log_y else [])
    fronts = _fronts(series, better, apart) if better else []
    box = box_of(series, title, y_title, has_lines=False, has_front=bool(fronts))
    svg = drawing(box, title, _description(series, fronts, x_title, y_title), width, height)
    y = make_axis(y_values, height - BOTTOM, TOP, log=log_y)
    frame = Frame(svg, make_axis(x_values, left_of(y) + 10, width - RIGHT, log=log_x), y)
    draw_y_axis(frame, width)
    draw_x_axis(frame, [(tick, format_tick(tick, frame.x.ticks)) for tick in _apart(frame)], x_title, width, height)
    if y_line:
        draw_across(frame, y_line, width)
    for front in fronts:
        add(add(svg, "g", class_=front.css_class), "path", d=front.path(frame), class_="front")
    for index, one in coloured(series):
        _draw_marks(frame, one, index)
    _draw_names(frame, points, [p for front in fronts for p in front.points], (left_of(y), width, height))
    _add_table(box, series, fronts, (name_title, x_title, y_title))
    return to_html(box)


def _fronts(series: Sequence[Series], better: tuple[Better, Better], apart: bool) -> list[Front]:
    groups: dict[str, list[tuple[int, Series]]] = {}
    for index, one in coloured(series):
        groups.setdefault(one.label if apart else one.role, []).append((index, one))
    fronts = []
    for group in groups.values():
        index, first = group[0]
        css_class = f"s{index} {first.role}" if len(group) == 1 else first.role
        if points := pareto_front((p for _, one in group for p in one.points), better):
            fronts.append(Front(points, better, css_class))
    return fronts


def _apart(frame: Frame) -> Sequence[float]:
    """The ticks of the x axis whose labels keep clear of each other in the large print of phones."""
    ticks = frame.x.ticks
    letters = max(len(format_tick(tick, ticks)) for tick in ticks) + 1
    room = (frame.x.end - frame.x.start) / (LETTER * letters)
    return ticks[:: -int(-len(ticks) // max(room, 1))]


def _description(series: Sequence[Series], fronts: Sequence[Front], x_title: str, y_title: str) -> str:
    """The chart in words: the marks of the front where there is one, otherwise all."""
    sentences = [_("%(y)s against %(x)s.") % {"y": y_title, "x": x_title}]
    listed = [p for s in series for p in s.points]
    if fronts:
        sentences.append(_("On the Pareto front, where no other is better in both:"))
        listed = [p for front in fronts for p in front.points]
    for point in listed:
        values = {"label": point.name, "y": f"{point.y:.4g}", "x": f"{point.x:.4g}"}
        sentences.append(_("%(label)s: %(y)s at %(x)s.") % values)
    return " ".join(sentences)


def _draw_marks(frame: Frame, one: Series, index: int) -> None:
    group = add(frame.svg, "g", class_=f"s{index} {one.role}")
    for point in one.points:
        x, y = frame.x.place(point.x), frame.y.place(point.y)
        if point.ends:
            draw_whisker(group, frame, point, x)
        if point.x_ends:
            low, high = (frame.x.place(v) for v in point.x_ends)
            add(
                group,
                "path",
                d=f"M{low:.2f} {y - 4:.2f}v8M{low:.2f} {y:.2f}H{high:.2f}M{high:.2f} {y - 4:.2f}v8",
                class_="error",
            )
        marker = draw_marker(group, index, x, y, 1.3 if one.role == "own" else 1)
        add(marker, "title", f"{point.name}: {_interval(point.y, point.ends)}; {_interval(point.x, point.x_ends)}")


# Names ---------------------------------------------------------------------------------------------------------------


def _draw_names(
    frame: Frame, points: Sequence[PlotPoint], front: Sequence[PlotPoint], size: tuple[float, int, int]
) -> None:
    """Each name beside its mark, those on the front first, where it covers neither a mark nor another name."""
    left, width, height = size
    inside = (left, 2.0, width - 2.0, height - BOTTOM - 2)
    places = {id(p): (frame.x.place(p.x), frame.y.place(p.y)) for p in points}
    taken = [(x - MARKER, y - MARKER, x + MARKER, y + MARKER) for x, y in places.values()]
    group = add(frame.svg, "g", class_="names")
    on_front = {id(p) for p in front}
    for point in sorted(points, key=lambda p: id(p) not in on_front):
        is_best = id(point) in on_front
        extent = name_extent(point.name, LETTER if is_best else SMALL_LETTER)
        found = _free_place(places[id(point)], extent, taken, inside)
        if found:
            taken.append(found.rectangle)
            found.draw(group, point.name, "name best" if is_best else "name")


def name_extent(name: str, letter: float) -> tuple[float, float]:
    """Width and height of a name in viewBox units; a Chinese character is as wide as two letters."""
    letters = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in name)
    return letters * letter, letter * 1.9


@dataclass(frozen=True)
class NamePlace:
    """Where a name stands, and where its mark is."""

    rectangle: Rectangle
    mark: tuple[float, float]
    side: tuple[float, float]
    gap: float

    def draw(self, group: Element, name: str, css_class: str) -> None:
        left, top, right, bottom = self.rectangle
        dx, dy = self.side
        x, anchor = {1: (left, "start"), 0: ((left + right) / 2, "middle"), -1: (right, "end")}[(dx > 0) - (dx < 0)]
        # Names above and below keep to their mark's side of the room that large print would need.
        y = {1: top + 12, 0: (top + bottom) / 2 + 4.5, -1: bottom - 4}[(dy > 0) - (dy < 0)]
        if self.gap > GAPS[0]:
            x0, y0 = (self.mark[0] + dx * MARKER * 1.5, self.mark[1] + dy * MARKER * 1.5)
            x1, y1 = (self.mark[0] + dx * (self.gap - 3), self.mark[1] + dy * (self.gap - 3))
            add(group, "line", x1=x0, y1=y0, x2=x1, y2=y1, class_=f"{css_class} lead")
        add(group, "text", name, x=x, y=y, text_anchor=anchor, class_=css_class)


def _free_place(
    mark: tuple[float, float], extent: tuple[float, float], taken: Sequence[Rectangle], inside: Rectangle
) -> NamePlace | None:
    for gap in GAPS:
        for side in SIDES:
            rectangle = _beside(mark, extent, side, gap)
            if _contains(inside, rectangle) and not any(_meet(rectangle, other) for other in taken):
                return NamePlace(rectangle, mark, side, gap)
    return None


def _beside(mark: tuple[float, float], extent: tuple[float, float], side: tuple[float, float], gap: float) -> Rectangle:
    (x, y), (width, height), (dx, dy) = mark, extent, side
    left = x + dx * gap - width * (0.5 - 0.5 * ((dx > 0) - (dx < 0)))
    top = y + dy * gap - height * (0.5 - 0.5 * ((dy > 0) - (dy < 0)))
    return left, top, left + width, top + height


def _meet(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _contains(outer: Rectangle, inner: Rectangle) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


# Table ---------------------------------------------------------------------------------------------------------------


def _add_table(box: Element, series: Sequence[Series], fronts: Sequence[Front], titles: tuple[str, str, str]) -> None:
    on_front = {id(p) for front in fronts for p in front.points}
    head = [*titles, _("on the front")] if fronts else list(titles)
    rows = []
    for one in series:
        prefix = f"{name_of(one, series)} · " if len(series) > 1 else ""
        for p in sorted(one.points, key=lambda p: p.x):
            row = [prefix + p.name, _interval(p.x, p.x_ends), _interval(p.y, p.ends)]
            rows.append([*row, "✓" if id(p) in on_front else "—"] if fronts else row)
    add_table(box, head, rows)


def _interval(value: float, ends: tuple[float, ...]) -> str:
    return f"{value:.4g} [{ends[0]:.4g}, {ends[1]:.4g}]" if ends else f"{value:.4g}"
