"""Charts: well-formed, safe, in order, and equal to the numbers they show."""

import re
from itertools import pairwise
from xml.etree.ElementTree import Element, fromstring

import pytest
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from labs.charts import (
    CORNERS,
    SHADES,
    Cell,
    Grid,
    PlotPoint,
    Series,
    bar_chart,
    claimed,
    format_tick,
    heat_map,
    line_chart,
    linear_ticks,
    log_ticks,
    make_axis,
)

SVG = "{http://www.w3.org/2000/svg}"
TITLES = {"title": "Loss against rank", "x_title": "Rank r", "y_title": "Validation loss"}
RANKS = Series("α = 2r", [PlotPoint(1, 3.27, 3.2, 3.3), PlotPoint(8, 1.41, 1.3, 1.5), PlotPoint(64, 0.7, 0.6, 0.8)])
OWN = Series("α = 2r", [PlotPoint(8, 1.5)], role="own")

values = st.floats(-1e12, 1e12)
positive = st.floats(1e-9, 1e12)


def parse(html: str) -> Element:
    return fromstring(html)  # noqa: S314 - our own output


def plot(series: list[Series], **options: object) -> Element:
    return parse(line_chart(series, **TITLES | options))


def centres(chart: Element) -> list[tuple[float, float]]:
    """Where the round markers of the drawing are."""
    drawing = chart.find(f"{SVG}svg")
    return [(float(c.get("cx")), float(c.get("cy"))) for c in drawing.iter(f"{SVG}circle")]


def texts(chart: Element) -> list[str]:
    return [t.text for t in chart.iter(f"{SVG}text")]


def test_it_is_safe_well_formed_and_without_styles() -> None:
    html = line_chart([RANKS, OWN], **TITLES, log_x=True, y_line=claimed(1.4))
    assert isinstance(html, SafeString)
    assert parse(html).get("class") == "chart"
    assert "style=" not in html


def test_it_tells_screen_readers_what_it_shows() -> None:
    chart = plot([RANKS])
    assert chart.find(f"{SVG}svg").get("role") == "img"
    assert chart.find(f"{SVG}svg/{SVG}title").text == "Loss against rank"
    description = chart.find(f"{SVG}svg/{SVG}desc").text
    assert description == "Validation loss against Rank r. α = 2r: 3.27 at 1, 0.7 at 64."


def test_it_escapes_labels() -> None:
    evil = '</svg><script>alert("1")</script>&'
    html = line_chart([Series(evil, [PlotPoint(1, 1)]), Series("b", [PlotPoint(1, 2)])], **TITLES | {"title": evil})
    assert "<script" not in html
    assert parse(html).find(f"{SVG}svg/{SVG}title").text == evil


@given(st.lists(st.tuples(values, values), min_size=2, max_size=20))
def test_the_order_of_data_is_the_order_of_pixels(data: list[tuple[float, float]]) -> None:
    points = sorted(data)
    places = centres(plot([Series("a", [PlotPoint(x, y) for x, y in points])]))
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    pairs = [(y, -pixel) for (_, y), (_, pixel) in zip(points, places, strict=True)]
    by_value = [pixel for _, pixel in sorted(pairs)]
    assert by_value == sorted(by_value)


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=20))
def test_logarithmic_axes_keep_the_order_and_the_frame(data: list[tuple[float, float]]) -> None:
    points = [PlotPoint(x, y) for x, y in sorted(data)]
    places = centres(plot([Series("a", points)], log_x=True, log_y=True))
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert all(0 <= x <= 640 and 0 <= y <= 360 for x, y in places)


def test_equal_steps_on_a_log_axis_are_equal_in_pixels() -> None:
    chart = plot([Series("a", [PlotPoint(r, 1) for r in (1, 2, 4, 8)])], log_x=True)
    x = [place for place, _ in centres(chart)]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.02) == pytest.approx(x[3] - x[2], abs=0.02)


def test_a_log2_axis_labels_the_ranks() -> None:
    assert {"1", "2", "4", "8", "16", "32", "64"} <= set(texts(plot([RANKS], log_x=True)))


def test_the_interval_is_a_band_for_the_reference_and_whiskers_for_the_own_run() -> None:
    own = Series("α = 2r", [PlotPoint(8, 1.5, 1.4, 1.6)], role="own")
    chart = plot([RANKS, own])
    band = chart.find(f".//{SVG}polygon[@class='band']")
    assert len(band.get("points").split()) == 2 * len(RANKS.points)
    assert chart.find(f".//{SVG}g[@class='s0 own']/{SVG}path[@class='error']") is not None


def test_an_own_run_has_the_colour_of_its_reference_and_a_larger_marker() -> None:
    chart = plot([RANKS, OWN])
    drawing = chart.find(f"{SVG}svg")
    radius = {g.get("class"): float(g.find(f"{SVG}circle").get("r")) for g in drawing.findall(f"{SVG}g[{SVG}circle]")}
    assert radius["s0 own"] > radius["s0 reference"]
    assert [li.findtext(".//*") or li[0].tail for li in chart.iter("li")] == ["α = 2r, reference", "α = 2r, your run"]


def test_a_single_series_needs_no_legend() -> None:
    assert plot([RANKS]).find("ul") is None


def test_series_differ_in_marker_as_well_as_in_colour() -> None:
    series = [Series(str(i), [PlotPoint(1, i), PlotPoint(2, i)]) for i in range(len(CORNERS) + 1)]
    drawing = plot(series).find(f"{SVG}svg")
    groups = [g for g in drawing.findall(f"{SVG}g") if g.get("class").startswith("s")]
    corners = [len(g.find(f"{SVG}*[@class='mark']").get("points", "").split()) for g in groups]
    assert corners == [0, *(len(c) for c in CORNERS)]


def test_the_claimed_value_is_drawn_where_the_axis_puts_it() -> None:
    chart = plot([RANKS], y_line=claimed(3.27))
    line = chart.find(f".//{SVG}line[@class='across']")
    assert float(line.get("y1")) == pytest.approx(centres(chart)[0][1], abs=0.01)
    assert "claimed: 3.27" in texts(chart)


def test_bars_stand_on_zero_in_both_directions() -> None:
    series = [Series("latency", [PlotPoint(0, 10, 9, 11), PlotPoint(1, -5)])]
    chart = parse(bar_chart(series, categories=["adapter", "merged"], **TITLES))
    up, down = chart.iter(f"{SVG}rect")
    assert float(up.get("y")) + float(up.get("height")) == pytest.approx(float(down.get("y")), abs=0.02)
    assert float(up.get("height")) == pytest.approx(2 * float(down.get("height")), abs=0.02)
    assert {"adapter", "merged"} <= set(texts(chart))


def test_bars_of_one_category_stand_side_by_side() -> None:
    series = [Series("fp32", [PlotPoint(0, 1), PlotPoint(1, 2)]), Series("bf16", [PlotPoint(0, 3), PlotPoint(1, 4)])]
    chart = parse(bar_chart(series, categories=["a", "b"], **TITLES))
    bars = sorted((float(b.get("x")), float(b.get("x")) + float(b.get("width"))) for b in chart.iter(f"{SVG}rect"))
    assert all(right <= left for (_, right), (left, _) in pairwise(bars))


def test_bars_lie_where_their_names_would_run_into_each_other() -> None:
    names = ["full fine-tuning in float32", "LoRA", "QLoRA", "a prefix"]
    series = [Series("peak", [PlotPoint(i, value) for i, value in enumerate((8, 4, 2, -1))])]
    chart = parse(bar_chart(series, categories=names, y_line=claimed(3.27), **TITLES))
    bars = list(chart.iter(f"{SVG}rect"))
    ends = [(float(bar.get("x")), float(bar.get("x")) + float(bar.get("width"))) for bar in bars]
    zero = ends[0][0]
    assert [end - zero for _, end in ends[:3]] == pytest.approx(
        [8 * (zero - ends[3][0]) / k for k in (1, 2, 4)], abs=0.1
    )
    assert ends[3][1] == pytest.approx(zero, abs=0.02)
    places = {label.text: float(label.get("y")) for label in chart.iter(f"{SVG}text")}
    tops = [float(bar.get("y")) for bar in bars]
    assert [places[name] for name in names] == sorted(places[name] for name in names)
    assert all(places[name] < top for name, top in zip(names, tops, strict=True))
    assert "claimed: 3.27" in places


@pytest.mark.parametrize("value", [-150.0, -149.0, 0.1, 99.0, 100.0])
def test_numbers_of_lying_bars_stay_inside_the_drawing(value: float) -> None:
    """Also in the large print of phones, where a digit is 11 of the 640 units wide."""
    series = [Series("kept", [PlotPoint(0, -150), PlotPoint(1, 100)])]
    names = ["a name of many letters, longer than half of the drawing is wide", "LoRA"]
    chart = parse(bar_chart(series, categories=names, y_line=claimed(value), **TITLES))
    centred = [label for label in chart.iter(f"{SVG}text") if label.get("text-anchor") == "middle"]
    assert {"-150", "100", f"claimed: {value:.4g}"} <= {label.text for label in centred}
    for label in centred:
        half = 11 * len(label.text) / 2
        assert half <= float(label.get("x")) <= 640 - half


RANK_MAP = {
    "rows": ["query", "value"],
    "columns": ["0", "1", "2"],
    "title": "Ranks",
    "x_title": "layer",
    "value_title": "Rank",
}
HEAT = Grid([Cell(0, 0, 0.0), Cell(0, 1, 6.0), Cell(0, 2, 12.0), Cell(1, 0, 12.0), Cell(1, 1, 3.0)])


def heat(*grids: Grid, **options: object) -> Element:
    return parse(heat_map(grids, **RANK_MAP | options))


def shades(chart: Element) -> dict[str, str]:
    """Each cell's class by what it says of itself."""
    rects = chart.find(f"{SVG}svg").findall(f"{SVG}rect")
    return {rect.findtext(f"{SVG}title"): rect.get("class") for rect in rects}


def test_a_heat_map_shades_by_value_and_leaves_out_what_is_missing() -> None:
    assert shades(heat(HEAT)) == {
        "query, layer 0: 0": "cell h0",
        "query, layer 1: 6": f"cell h{SHADES // 2}",
        "query, layer 2: 12": f"cell h{SHADES - 1}",
        "value, layer 0: 12": f"cell h{SHADES - 1}",
        "value, layer 1: 3": "cell h2",
    }


def test_a_heat_map_gives_its_numbers_as_a_table() -> None:
    table = heat(HEAT).find("details/div/table")
    cells = [[cell.text for cell in line] for line in table.iter("tr")]
    assert cells == [["layer", "query", "value"], ["0", "0", "12"], ["1", "6", "3"], ["2", "12", "—"]]


def test_a_heat_map_tells_screen_readers_what_it_shows() -> None:
    description = heat(HEAT).find(f"{SVG}svg/{SVG}desc").text
    assert description == "Rank, from 0 to 12. query: 6 on average. value: 7.5 on average."


def test_two_runs_share_one_scale() -> None:
    own = Grid([Cell(0, 0, 24.0)], role="own")
    chart = heat(HEAT, own)
    assert [p.text for p in chart.findall("p[@class='y-title']")] == ["Reference", "Your run"]
    assert "cell h4" in shades(chart)["query, layer 2: 12"]
    assert len(chart.findall(f"{SVG}svg")) == 2


def test_labels_of_many_columns_keep_clear_of_each_other() -> None:
    columns = [str(i) for i in range(100)]
    shown = [t for t in texts(heat(Grid([Cell(0, 0, 1.0)]), columns=columns)) if t.isdigit()]
    assert shown == columns[:: int(shown[1])]
    assert len(shown) <= 20


def test_a_heat_map_of_equal_values_is_even() -> None:
    assert set(shades(heat(Grid([Cell(0, 0, 5.0), Cell(1, 2, 5.0)]))).values()) == {f"cell h{SHADES // 2}"}


def test_a_heat_map_refuses_what_it_cannot_show() -> None:
    with pytest.raises(ValueError, match="it has no cells"):
        heat(Grid([]))
    with pytest.raises(ValueError, match="outside the 2 × 3 places"):
        heat(Grid([Cell(2, 0, 1.0)]))
    with pytest.raises(ValueError, match="must be finite"):
        Cell(0, 0, float("nan"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["x", "y", "low", "high"])
def test_it_refuses_what_is_not_finite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"Invalid {name} of a plotted point"):
        PlotPoint(**{"x": 1, "y": 1, "low": 1, "high": 1, name: value})


def test_it_refuses_half_an_interval() -> None:
    with pytest.raises(ValueError, match="give both ends or none"):
        PlotPoint(1, 1, low=0.5)


def test_it_refuses_no_points() -> None:
    with pytest.raises(ValueError, match="it has no points"):
        plot([Series("a", [])])


@pytest.mark.parametrize("axis", ["log_x", "log_y"])
def test_it_refuses_zero_on_a_logarithmic_axis(axis: str) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        plot([Series("a", [PlotPoint(0, 0)])], **{axis: True})


def test_it_refuses_a_bar_without_a_category() -> None:
    with pytest.raises(ValueError, match="not one of the 1 categories"):
        bar_chart([Series("a", [PlotPoint(1, 1)])], categories=["a"], **TITLES)


@given(values, values)
def test_linear_ticks_are_few_even_and_enclose_the_data(a: float, b: float) -> None:
    axis = make_axis([a, b], 0, 100)
    assert axis.low <= min(a, b) <= max(a, b) <= axis.high
    assert 2 <= len(axis.ticks) <= 9
    assert list(axis.ticks) == sorted(set(axis.ticks))


def test_linear_ticks_are_round() -> None:
    assert linear_ticks(0.7, 3.3) == (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
    assert linear_ticks(0, 30_000_000) == tuple(5e6 * i for i in range(7))


def test_log_ticks_follow_the_data() -> None:
    assert log_ticks(1, 64, [1, 8, 64]) == (1, 2, 4, 8, 16, 32, 64)
    assert log_ticks(1e-4, 1e-2, [1e-4, 3e-3]) == pytest.approx((1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2))
    assert log_ticks(3, 3, [3]) == (3, 4)


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ((0.5, 1.0, 1.5), ["0.5", "1.0", "1.5"]),
        ((0, 5e6, 10e6), ["0", "5M", "10M"]),
        ((0, 2500, 5000, 7500, 10000), ["0", "2.5k", "5k", "7.5k", "10k"]),
        ((0, 500, 1000), ["0", "500", "1,000"]),
        ((8192, 16384, 32768), ["8192", "16384", "32768"]),
        ((1e-4, 1e-3, 1e-2), ["0.0001", "0.001", "0.01"]),
    ],
)
def test_tick_labels_are_short(ticks: tuple[float, ...], labels: list[str]) -> None:
    assert [format_tick(t, ticks) for t in ticks] == labels


def test_every_colour_of_a_series_is_in_the_style_sheet(settings: object) -> None:
    sheet = (settings.BASE_DIR / "static" / "css" / "charts.css").read_text()
    assert set(re.findall(r"\.s(\d) \{", sheet)) == {str(i) for i in range(len(CORNERS) + 1)}


def test_every_shade_of_a_heat_map_is_in_the_style_sheet(settings: object) -> None:
    sheet = (settings.BASE_DIR / "static" / "css" / "charts.css").read_text()
    assert set(re.findall(r"\.h(\d) \{", sheet)) == {str(i) for i in range(SHADES)}
