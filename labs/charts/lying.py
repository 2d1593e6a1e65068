"""Bars that lie below the names of their categories, for names that would run into each other under upright ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from labs.charts.axes import Axis
from labs.charts.parts import (
    RIGHT,
    Across,
    PlotPoint,
    Series,
    add,
    coloured,
    draw_axis_below,
    draw_down,
    value_text,
    width_of,
)

HEAD, FOOT = 26.0, 44.0
NAME, GAP = 28.0, 12.0  # of a row: its name, and what separates it from the next
ONLY, ONE_OF_SEVERAL = 22.0, 13.0  # height of a bar, with the space below it


@dataclass(frozen=True)
class Rows:
    """A row a category: its name, and below it a bar a series."""

    svg: Element
    x: Axis
    categories: Sequence[str]
    series: Sequence[Series]

    @property
    def bar(self) -> float:
        return bar_of(self.series)

    @property
    def bottom(self) -> float:
        return height_of(self.categories, self.series) - FOOT

    def top(self, category: float, position: int) -> float:
        return HEAD + row_of(self.series) * category + NAME + self.bar * position


def are_crowded(categories: Sequence[str], width: int) -> bool:
    """Whether a name would be wider than its place below an upright bar, in the large print of phones."""
    return max(map(width_of, categories)) > (width - RIGHT) / len(categories)


def bar_of(series: Sequence[Series]) -> float:
    return ONLY if len(series) == 1 else ONE_OF_SEVERAL


def row_of(series: Sequence[Series]) -> float:
    return NAME + bar_of(series) * len(series) + GAP


def height_of(categories: Sequence[str], series: Sequence[Series]) -> int:
    return int(HEAD + row_of(series) * len(categories) + FOOT)


def draw_lying(rows: Rows, line: Across | None) -> None:
    draw_axis_below(rows.svg, rows.x, HEAD, rows.bottom)
    for index, name in enumerate(rows.categories):
        add(rows.svg, "text", name, x=rows.x.place(0) + 4, y=rows.top(index, 0) - 7, class_="bar-label")
    for position, (index, one) in enumerate(coloured(rows.series)):
        group = add(rows.svg, "g", class_=f"s{index} {one.role}")
        for point in one.points:
            _draw_bar(group, rows, one, point, rows.top(point.x, position))
    if line:
        draw_down(rows.svg, rows.x, line, HEAD, rows.bottom)


def _draw_bar(group: Element, rows: Rows, one: Series, point: PlotPoint, top: float) -> None:
    left, right = sorted((rows.x.place(0), rows.x.place(point.y)))
    bar = add(group, "rect", x=left, y=top, width=right - left, height=rows.bar - 2, rx="2", class_="bar")
    add(bar, "title", value_text(one.label, rows.categories[int(point.x)], point))
    if point.ends:
        low, high = (rows.x.place(value) for value in point.ends)
        middle = top + rows.bar / 2 - 1
        path = f"M{low:.2f} {middle - 4:.2f}v8M{low:.2f} {middle:.2f}H{high:.2f}M{high:.2f} {middle - 4:.2f}v8"
        add(group, "path", d=path, class_="error")
