"""Heat maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from labs.charts.parts import BOTTOM, LETTER, RIGHT, TOP, Role, add, add_table, drawing, to_html

SHADES = 9  # classes h0 … h8 in charts.css, of heat maps


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
    add(box, "p", title, class_="heading")
    _add_scale(box, low, high, value_title)
    texts = HeatTexts(title, x_title, value_title)
    for grid in grids:
        if len(grids) > 1 or grid.role == "own":
            add(box, "p", _("Your run") if grid.role == "own" else _("Reference"), class_="y-title")
        map_ = HeatMap(grid, rows, columns, low, high)
        _draw_heat_map(box, map_, texts, width)
        _add_heat_table(box, map_, x_title)
    return to_html(box)


def _add_scale(box: Element, low: float, high: float, value_title: str) -> None:
    """Which shade means what."""
    scale = add(box, "p", f"{value_title}: {low:.4g} ", class_="scale")
    sample = add(scale, "svg", viewBox=f"0 0 {12 * SHADES} 12", width=f"{12 * SHADES}", height="12")
    sample.set("aria-hidden", "true")
    for i in range(SHADES):
        add(sample, "rect", x=12.0 * i, y=0.0, width=12.0, height=12.0, class_=f"cell h{i}")
    sample.tail = f" {high:.4g}"


def _draw_heat_map(box: Element, map_: HeatMap, texts: HeatTexts, width: int) -> None:
    left = 20 + LETTER * max(len(row) for row in map_.rows)
    cell_width, cell_height = (width - left - RIGHT) / len(map_.columns), 26.0
    bottom = TOP + cell_height * len(map_.rows)
    svg = drawing(box, texts.title, map_.description(texts.value), width, round(bottom + BOTTOM))
    for i, row in enumerate(map_.rows):
        group = add(svg, "g", class_="tick")
        add(group, "text", row, x=left - 8, y=TOP + cell_height * (i + 0.5) + 5, text_anchor="end")
    # Labels keep clear of each other in the large print of phones.
    letters = max(len(column) for column in map_.columns) + 1
    for j in range(0, len(map_.columns), math.ceil(LETTER * letters / cell_width)):
        group = add(svg, "g", class_="tick")
        add(group, "text", map_.columns[j], x=left + cell_width * (j + 0.5), y=bottom + 22, text_anchor="middle")
    middle = (left + width - RIGHT) / 2
    add(svg, "text", texts.x, x=middle, y=bottom + BOTTOM - 8, text_anchor="middle", class_="axis-title")
    for cell in map_.grid.cells:
        x, y = left + cell_width * cell.column, TOP + cell_height * cell.row
        shade = f"cell h{map_.shade(cell.value)}"
        rect = add(svg, "rect", x=x, y=y, width=cell_width, height=cell_height, class_=shade)
        add(rect, "title", f"{map_.rows[cell.row]}, {texts.x} {map_.columns[cell.column]}: {cell.value:.4g}")


def _add_heat_table(box: Element, map_: HeatMap, x_title: str) -> None:
    """Columns become rows, because a page is narrow and has no end below."""
    values = {(cell.row, cell.column): f"{cell.value:.4g}" for cell in map_.grid.cells}
    rows = [
        [column, *(values.get((i, j), "—") for i in range(len(map_.rows)))] for j, column in enumerate(map_.columns)
    ]
    add_table(box, (x_title, *map_.rows), rows)
