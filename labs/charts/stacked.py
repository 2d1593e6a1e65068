"""Stacked bars lying on their side, with vertical lines for what they are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from django.utils.safestring import SafeString

from labs.charts.axes import Axis, make_axis
from labs.charts.parts import (
    SIDE,
    Across,
    PlotPoint,
    Series,
    add,
    box_of,
    draw_axis_below,
    draw_down,
    drawing,
    to_html,
)

TOP, FOOT = 34.0, 44.0
ROW, BAR = 64.0, 30.0  # of a bar with its label, and of the bar alone


@dataclass(frozen=True)
class StackedBar:
    """Parts by name, from left to right, in the order of the chart's parts; all at least 0."""

    label: str
    values: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.values.values())


def stacked_chart(
    bars: Sequence[StackedBar],
    *,
    parts: Mapping[str, str],
    title: str,
    x_title: str,
    marks: Sequence[Across] = (),
    width: int = 640,
) -> SafeString:
    """One bar a label; `parts` are the titles of parts by name. ValueError without a bar, or for a negative part."""
    if not bars or any(value < 0 for bar in bars for value in bar.values.values()):
        raise ValueError("Invalid stacked chart: it needs bars, and parts of at least 0")
    used = {name: title for name, title in parts.items() if any(bar.values.get(name) for bar in bars)}
    # The legend takes points, of which it draws none.
    legend = [Series(title, [PlotPoint(0, 0)]) for title in used.values()]
    box = box_of(legend, title, x_title, has_lines=False)
    height = int(TOP + ROW * len(bars) + FOOT)
    svg = drawing(box, title, _description(bars, parts, x_title), width, height)
    shown = marks_beside(bars, marks)
    x = make_axis([0, *(bar.total for bar in bars), *(mark.value for mark in shown)], SIDE, width - SIDE)
    draw_axis_below(svg, x, TOP, height - FOOT)
    for mark in shown:
        draw_down(svg, x, mark, TOP - 12, height - FOOT)
    for index, bar in enumerate(bars):
        _draw_bar(svg, x, bar, used, TOP + ROW * index)
    return to_html(box)


def marks_beside(bars: Sequence[StackedBar], marks: Sequence[Across]) -> list[Across]:
    """Those from a quarter of the longest bar on, and the first beyond it."""
    longest = max(bar.total for bar in bars)
    ordered = sorted(marks, key=lambda mark: mark.value)
    beyond = next((mark for mark in ordered if mark.value >= longest), None)
    return [mark for mark in ordered if longest / 4 <= mark.value <= longest or mark is beyond]


def _description(bars: Sequence[StackedBar], parts: Mapping[str, str], x_title: str) -> str:
    sentences = [f"{x_title}."]
    for bar in bars:
        listed = ", ".join(f"{parts[name]} {value:.4g}" for name, value in bar.values.items() if value)
        sentences.append(f"{bar.label}: {bar.total:.4g} ({listed}).")
    return " ".join(sentences)


def _draw_bar(svg: Element, x: Axis, bar: StackedBar, parts: Mapping[str, str], top: float) -> None:
    """The used parts, in their order, beside each other."""
    add(svg, "text", f"{bar.label}: {bar.total:.3g}", x=x.place(0), y=top + 20, class_="bar-label")
    start = 0.0
    for index, (name, title) in enumerate(parts.items()):
        value = bar.values.get(name, 0.0)
        if value:
            left, right = x.place(start), x.place(start + value)
            group = add(svg, "g", class_=f"s{index}")
            rect = add(group, "rect", x=left, y=top + 28, width=max(right - left, 0.5), height=BAR, class_="bar part")
            add(rect, "title", f"{bar.label}, {title}: {value:.4g}")
        start += value
