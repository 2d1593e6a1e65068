"""Charts of the statistics, in the manner of `labs.charts`: SVG from the server, coloured by style sheets alone.

A page prints the same numbers in a table under the chart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from xml.etree.ElementTree import Element, SubElement, tostring

from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from labs.charts import Axis, format_tick, make_axis

WIDTH, HEIGHT = 640.0, 300.0
TOP, RIGHT, BOTTOM, LETTER = 12.0, 14.0, 60.0, 11.0
# Sides of a day in the calendar, and the room for the months' names.
CELL, GAP, MONTHS = 11.0, 2.0, 24.0
SHADES = 4


@dataclass(frozen=True)
class Stack:
    """One layer of the columns: a value a column."""

    label: str
    values: Sequence[float]


def columns(
    stacks: Sequence[Stack],
    *,
    labels: Sequence[str],
    title: str,
    x_title: str,
    y_title: str,
    top: float | None = None,
) -> SafeString:
    """Columns from zero, layers on top of each other; only as many labels as there is room for.

    `top` is the least end of the y axis. ValueError where a layer has another number of values than there are labels.
    """
    if any(len(stack.values) != len(labels) for stack in stacks) or not labels:
        raise ValueError(f"Invalid columns: {[len(s.values) for s in stacks]} values for {len(labels)} labels")
    sums = [sum(values) for values in zip(*(stack.values for stack in stacks), strict=True)]
    box = _box(stacks, title, y_title)
    svg = _drawing(box, title, _summary(labels, sums, x_title, y_title), WIDTH, HEIGHT)
    y = make_axis([0, max(top or 0, *sums) or 1], HEIGHT - BOTTOM, TOP)  # nothing to show still has an axis
    left = 18 + LETTER * max(len(format_tick(tick, y.ticks)) for tick in y.ticks)
    x = Axis(-0.5, len(labels) - 0.5, (), left, WIDTH - RIGHT)
    _y_axis(svg, y, left)
    _x_axis(svg, x, labels, x_title)
    _layers(svg, stacks, labels, x, y)
    return _to_html(box)


def _layers(svg: Element, stacks: Sequence[Stack], labels: Sequence[str], x: Axis, y: Axis) -> None:
    width = min((x.place(1) - x.place(0)) * 0.8, 60)
    base = [0.0] * len(labels)
    for index, stack in enumerate(stacks):
        group = _add(svg, "g", class_=f"s{index} reference")
        for place, value in enumerate(stack.values):
            if value:
                low, high = y.place(base[place]), y.place(base[place] + value)
                bar = _add(group, "rect", x=x.place(place) - width / 2, y=high, width=width, height=low - high)
                bar.set("class", "bar")
                _add(bar, "title", f"{stack.label}, {labels[place]}: {value:,.4g}")
                base[place] += value


def calendar(counts: Mapping[date, int], year: int, *, title: str) -> SafeString:
    """A year of days: weeks from left to right, Monday on top; the darker, the more answers."""
    box = Element("div", {"class": "chart calendar"})
    _add(box, "p", title, class_="heading")
    first = date(year, 1, 1)
    start = first - timedelta(days=first.weekday())
    days = [first + timedelta(days=n) for n in range((date(year + 1, 1, 1) - first).days)]
    weeks = (days[-1] - start).days // 7 + 1
    described = _("%(days)s days with answers, %(answers)s answers.") % {
        "days": sum(1 for day in days if counts.get(day)),
        "answers": sum(counts.get(day, 0) for day in days),
    }
    svg = _drawing(box, title, described, weeks * (CELL + GAP), MONTHS + 7 * (CELL + GAP))
    limits = shade_limits([n for day in days if (n := counts.get(day, 0))])
    for day in days:
        week, weekday = divmod((day - start).days, 7)
        if day.day == 1:
            name = date_format(day, "M")
            _add(svg, "text", name, x=week * (CELL + GAP), y=MONTHS - 8)
        count = counts.get(day, 0)
        cell = _add(svg, "rect", x=week * (CELL + GAP), y=MONTHS + weekday * (CELL + GAP), width=CELL, height=CELL)
        cell.set("class", f"day h{shade(count, limits)}")
        _add(cell, "title", f"{day.isoformat()}: {count}")
    return _to_html(box)


def shade_limits(counts: Sequence[int]) -> list[int]:
    """The least count of each shade but the lightest: quarters of the days with answers."""
    ordered = sorted(counts)
    return [ordered[len(ordered) * part // SHADES] for part in range(1, SHADES)] if ordered else []


def shade(count: int, limits: Sequence[int]) -> int:
    """0 for a day without answers, else 1 to 4."""
    return 1 + sum(count >= limit for limit in limits) if count else 0


# Parts ----------------------------------------------------------------------------------------------------------------


def _add(parent: Element, tag: str, text: str = "", **attributes: float | str) -> Element:
    named = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items()}
    child = SubElement(parent, tag, {k: v if isinstance(v, str) else f"{v:.2f}" for k, v in named.items()})
    child.text = text or None
    return child


def _box(stacks: Sequence[Stack], title: str, y_title: str) -> Element:
    box = Element("div", {"class": "chart"})
    _add(box, "p", title, class_="heading")
    if len(stacks) > 1:
        legend = _add(box, "ul", class_="legend")
        for index, stack in enumerate(stacks):
            item = _add(legend, "li")
            sample = _add(item, "svg", viewBox="0 0 14 14", width="14", height="14", aria_hidden="true")
            group = _add(sample, "g", class_=f"s{index} reference")
            _add(group, "rect", x="1", y="1", width="12", height="12", class_="bar")
            sample.tail = stack.label
    _add(box, "p", y_title, class_="y-title", aria_hidden="true")
    return box


def _drawing(box: Element, title: str, description: str, width: float, height: float) -> Element:
    attributes = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width:g} {height:g}", "role": "img"}
    svg = SubElement(box, "svg", attributes)
    _add(svg, "title", title)
    _add(svg, "desc", description)
    return svg


def _summary(labels: Sequence[str], sums: Sequence[float], x_title: str, y_title: str) -> str:
    most = max(range(len(sums)), key=sums.__getitem__)
    values = {
        "y": y_title,
        "x": x_title,
        "most": f"{sums[most]:,.4g}",
        "place": labels[most],
        "sum": f"{sum(sums):,.4g}",
    }
    return _("%(y)s by %(x)s: at most %(most)s (%(place)s), %(sum)s in all.") % values


def _y_axis(svg: Element, y: Axis, left: float) -> None:
    for tick in y.ticks:
        height = y.place(tick)
        group = _add(svg, "g", class_="tick")
        _add(group, "line", x1=left, x2=WIDTH - RIGHT, y1=height, y2=height, class_="axis" if tick == 0 else "grid")
        _add(group, "text", format_tick(tick, y.ticks), x=left - 8, y=height + 5, text_anchor="end")


def _x_axis(svg: Element, x: Axis, labels: Sequence[str], x_title: str) -> None:
    room = x.end - x.start
    # In the large print of phones a letter takes about LETTER units, a Chinese one twice as much.
    longest = LETTER * max(len(label.encode("gb18030")) + 2 for label in labels)
    every = max(1, -(-len(labels) * longest // room))
    for place, label in enumerate(labels):
        if place % every == 0:
            _add(
                _add(svg, "g", class_="tick"),
                "text",
                label,
                x=x.place(place),
                y=HEIGHT - BOTTOM + 24,
                text_anchor="middle",
            )
    middle = (x.start + x.end) / 2
    _add(svg, "text", x_title, x=middle, y=HEIGHT - 8, text_anchor="middle", class_="axis-title")


def _to_html(box: Element) -> SafeString:
    """ElementTree has escaped every label, so the result is safe."""
    return SafeString(tostring(box, encoding="unicode"))
