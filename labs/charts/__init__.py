"""Charts as SVG made on the server: no script, no style attribute, colours from static/css/charts.css.

A chart never stands alone: the page prints the same numbers in a table beside it.
"""

from labs.charts.axes import Axis, format_tick, linear_ticks, log_ticks, make_axis
from labs.charts.bars import bar_chart
from labs.charts.heat import SHADES, Cell, Grid, heat_map
from labs.charts.lines import line_chart
from labs.charts.parts import CORNERS, Across, PlotPoint, Role, Series, claimed, predicted
from labs.charts.scatter import Better, pareto_front, scatter_chart
from labs.charts.stacked import StackedBar, marks_beside, stacked_chart

__all__ = [
    "CORNERS",
    "SHADES",
    "Across",
    "Axis",
    "Better",
    "Cell",
    "Grid",
    "PlotPoint",
    "Role",
    "Series",
    "StackedBar",
    "bar_chart",
    "claimed",
    "format_tick",
    "heat_map",
    "line_chart",
    "linear_ticks",
    "log_ticks",
    "make_axis",
    "marks_beside",
    "pareto_front",
    "predicted",
    "scatter_chart",
    "stacked_chart",
]
