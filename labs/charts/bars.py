"""Bar charts."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from django.utils.safestring import SafeString

from labs.charts.axes import Axis, make_axis
from labs.charts.lying import Rows, are_crowded, draw_lying, height_of
from labs.charts.parts import (
    BOTTOM,
    RIGHT,
    SIDE,
    TOP,
    Across,
    Frame,
    Series,
    add,
    box_of,
    check,
    coloured,
    description,
    draw_across,
    draw_whisker,
    draw_x_axis,
    draw_y_axis,
    drawing,
    left_of,
    to_html,
    value_text,
)


def bar_chart(
    series: Sequence[Series],
    *,
    categories: Sequence[str],
    title: str,
    x_title: str,
    y_title: str,
    y_line: Across | None = None,
    width: int = 640,
    height: int = 360,
) -> SafeString:
    """Bars from zero, grouped by category: a point with x = 0 belongs to the first one.

    The bars lie where the names of the categories would run into each other, and the chart is as high as it needs.

    Raises ValueError when there is no point, a value is not finite, or a point has no category.
    """
    points = [p for s in series for p in s.points]
    check(points, [], [])
    if any(p.x not in range(len(categories)) for p in points):
        raise ValueError(f"Invalid bar chart: a point's x is not one of the {len(categories)} categories")
    box = box_of(series, title, y_title)
    text = description(series, x_title, y_title, categories)
    if are_crowded(categories, width):
        svg = drawing(box, title, text, width, height_of(categories, series))
        x = make_axis(_values(series, y_line), SIDE, width - SIDE)
        draw_lying(Rows(svg, x, categories, series), y_line)
        return to_html(box)
    svg = drawing(box, title, text, width, height)
    y = make_axis(_values(series, y_line), height - BOTTOM, TOP)
    x = Axis(-0.5, len(categories) - 0.5, (), left_of(y), width - RIGHT)
    frame = Frame(svg, x, y)
    draw_y_axis(frame, width)
    draw_x_axis(frame, list(enumerate(categories)), x_title, width, height)
    _draw_bars(frame, series, categories)
    if y_line:
        draw_across(frame, y_line, width)
    return to_html(box)


def _values(series: Sequence[Series], line: Across | None) -> list[float]:
    """What the axis has to hold: zero, the bars, their intervals and the line."""
    values = [v for s in series for p in s.points for v in (p.y, *p.ends)]
    return [0, *values, *([line.value] if line else [])]


def _draw_bars(frame: Frame, series: Sequence[Series], categories: Sequence[str]) -> None:
    slot = (frame.x.place(1) - frame.x.place(0)) * 0.76
    bar_width = min(slot / len(series), 72)
    for position, (index, one) in enumerate(coloured(series)):
        group = add(frame.svg, "g", class_=f"s{index} {one.role}")
        for point in one.points:
            left = frame.x.place(point.x) + (position - len(series) / 2) * bar_width
            bar = _draw_bar(group, frame, point.y, left + 1.5, max(bar_width - 3, 1))
            add(bar, "title", value_text(one.label, categories[int(point.x)], point))
            if point.ends:
                draw_whisker(group, frame, point, left + bar_width / 2)


def _draw_bar(group: Element, frame: Frame, value: float, left: float, width: float) -> Element:
    top, bottom = sorted((frame.y.place(value), frame.y.place(0)))
    return add(group, "rect", x=left, y=top, width=width, height=bottom - top, rx="2", class_="bar")
