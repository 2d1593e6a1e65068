"""Line charts."""

from collections.abc import Sequence

from django.utils.safestring import SafeString

from labs.charts.axes import format_tick, make_axis
from labs.charts.parts import (
    BOTTOM,
    RIGHT,
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
    draw_marker,
    draw_whisker,
    draw_x_axis,
    draw_y_axis,
    drawing,
    left_of,
    to_html,
    value_text,
)

MARKED = 30  # points of a line that each get a marker; a longer line has one at its end


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_title: str,
    y_title: str,
    log_x: bool = False,
    log_y: bool = False,
    y_line: Across | None = None,
    width: int = 640,
    height: int = 360,
) -> SafeString:
    """Lines with markers over a numeric x; `y_line` is a claimed or predicted value, drawn across.

    Raises ValueError when there is no point, a value is not finite, or a logarithmic axis meets a value ≤ 0.
    """
    points = [p for s in series for p in s.points]
    y_values = [v for p in points for v in (p.y, *p.ends)] + ([y_line.value] if y_line else [])
    check(points, [p.x for p in points] if log_x else [], y_values if log_y else [])
    box = box_of(series, title, y_title)
    svg = drawing(box, title, description(series, x_title, y_title), width, height)
    y = make_axis(y_values, height - BOTTOM, TOP, log=log_y)
    # Markers stay clear of the frame.
    x = make_axis([p.x for p in points], left_of(y) + 10, width - RIGHT, log=log_x, fit=True)
    frame = Frame(svg, x, y)
    draw_y_axis(frame, width)
    draw_x_axis(frame, [(tick, format_tick(tick, x.ticks)) for tick in x.ticks], x_title, width, height)
    if y_line:
        draw_across(frame, y_line, width)
    for index, one in coloured(series):
        _draw_line_series(frame, one, index)
    return to_html(box)


def _draw_line_series(frame: Frame, one: Series, index: int) -> None:
    group = add(frame.svg, "g", class_=f"s{index} {one.role}")
    points = sorted(one.points, key=lambda p: p.x)
    places = [(frame.x.place(p.x), frame.y.place(p.y)) for p in points]
    with_ends = [p for p in points if p.ends]
    if one.role == "reference" and len(with_ends) > 1:
        edge = [(p.x, p.ends[1]) for p in with_ends] + [(p.x, p.ends[0]) for p in reversed(with_ends)]
        corners = " ".join(f"{frame.x.place(x):.2f},{frame.y.place(y):.2f}" for x, y in edge)
        add(group, "polygon", points=corners, class_="band")
    else:
        for point in with_ends:
            draw_whisker(group, frame, point, frame.x.place(point.x))
    if len(places) > 1:
        add(group, "path", d="M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in places), class_="line")
    marked = list(zip(points, places, strict=True))
    for point, (x, y) in marked if len(marked) <= MARKED else marked[-1:]:
        marker = draw_marker(group, index, x, y, 1.3 if one.role == "own" else 1)
        add(marker, "title", value_text(one.label, f"{point.x:g}", point))
