"""Scatter charts: names, intervals both ways, and the Pareto front."""

from itertools import combinations
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.charts import Better, PlotPoint, Series, claimed, pareto_front, scatter_chart

SVG = "{http://www.w3.org/2000/svg}"
TITLES = {"title": "Loss against size", "x_title": "Parameters", "y_title": "Loss", "name_title": "method"}
FULL = PlotPoint(1e6, 0.5, 0.4, 0.6, name="full")
LORA = PlotPoint(1e4, 0.7, 0.65, 0.75, name="LoRA")
PROMPT = PlotPoint(1e2, 2.0, 1.5, 2.5, name="prompt")
ADALORA = PlotPoint(2e4, 1.0, 0.9, 1.1, name="AdaLoRA")
ZOO = Series("measured", [ADALORA, PROMPT, LORA, FULL])
LEAST = ("lower", "lower")

numbers = st.integers(0, 6).map(float)
directions = st.tuples(*[st.sampled_from(["lower", "higher"])] * 2)


def plot(*series: Series, **options: object) -> Element:
    return fromstring(scatter_chart(series, **TITLES | {"log_x": True} | options))  # noqa: S314 - our own output


def names(chart: Element) -> list[str]:
    return [t.text for t in chart.iter(f"{SVG}text") if t.get("class", "").startswith("name")]


def front_paths(chart: Element) -> list[Element]:
    return chart.find(f"{SVG}svg").findall(f".//{SVG}path[@class='front']")


def is_beaten(point: PlotPoint, other: PlotPoint, better: tuple[Better, Better]) -> bool:
    """Written out: as good in both, better in one."""
    gains = [
        (b - a) if direction == "higher" else (a - b)
        for a, b, direction in zip((point.x, point.y), (other.x, other.y), better, strict=True)
    ]
    return min(gains) >= 0 and max(gains) > 0


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12), directions)
def test_the_front_has_exactly_the_points_that_no_other_beats(places: list[tuple[float, float]], better) -> None:
    points = [PlotPoint(x, y) for x, y in places]
    front = pareto_front(points, better)
    expected = [p for p in points if not any(is_beaten(p, other, better) for other in points)]
    assert sorted((p.x, p.y) for p in front) == sorted((p.x, p.y) for p in expected)
    assert [p.x for p in front] == sorted(p.x for p in front)


def test_every_mark_has_its_name_and_its_values() -> None:
    chart = plot(ZOO)
    assert sorted(names(chart)) == ["AdaLoRA", "LoRA", "full", "prompt"]
    marks = [mark.findtext(f"{SVG}title") for mark in chart.find(f"{SVG}svg").iter(f"{SVG}circle")]
    assert marks[2] == "LoRA: 0.7 [0.65, 0.75]; 1e+04"


def test_without_directions_there_is_no_front() -> None:
    chart = plot(ZOO)
    assert front_paths(chart) == []
    assert chart.find("ul") is None
    assert chart.find(f"{SVG}svg/{SVG}desc").text.startswith("Loss against Parameters. AdaLoRA: 1 at 2e+04.")


def test_the_front_is_a_line_of_steps_with_a_legend() -> None:
    chart = plot(ZOO, better=LEAST)
    (path,) = front_paths(chart)
    # With less of both better, the loss falls only where the larger size is reached.
    assert [c for c in path.get("d") if c.isalpha()] == ["M", "H", "V", "H", "V"]
    assert chart.find("ul/li/svg").tail == "Pareto front: no other is better in both"
    description = chart.find(f"{SVG}svg/{SVG}desc").text
    assert "where no other is better in both: prompt: 2 at 100. LoRA: 0.7 at 1e+04. full: 0.5 at 1e+06." in description


def test_steps_go_the_other_way_where_more_of_x_is_better() -> None:
    (path,) = front_paths(plot(Series("", [LORA, ADALORA]), better=("higher", "lower")))
    assert [c for c in path.get("d") if c.isalpha()] == ["M", "V", "H"]


def test_the_table_says_what_is_on_the_front() -> None:
    table = plot(ZOO, better=LEAST).find("details/div/table")
    rows = [[cell.text for cell in line] for line in table.iter("tr")]
    assert rows[0] == ["method", "Parameters", "Loss", "on the front"]
    assert rows[1:3] == [["prompt", "100", "2 [1.5, 2.5]", "✓"], ["LoRA", "1e+04", "0.7 [0.65, 0.75]", "✓"]]
    assert rows[3][-1] == "—"


def test_both_values_may_have_intervals() -> None:
    whiskers = plot(Series("", [PlotPoint(2, 3, 2.5, 3.5, 1, 4, "a")])).findall(f".//{SVG}path[@class='error']")
    vertical, horizontal = (w.get("d") for w in whiskers)
    assert "V" in vertical
    assert "H" not in vertical
    assert "H" in horizontal
    assert "V" not in horizontal


def test_ones_own_run_has_a_front_of_its_own_and_so_has_each_compared_run() -> None:
    own = Series("measured", [PlotPoint(1e3, 0.9, name="LoRA")], role="own")
    assert len(front_paths(plot(ZOO, own, better=LEAST))) == 2
    both = [Series("Run 1", [LORA, FULL]), Series("Run 2", [PROMPT])]
    assert len(front_paths(plot(*both, better=LEAST))) == 1
    assert len(front_paths(plot(*both, better=LEAST, apart=True))) == 2


def test_names_cover_neither_marks_nor_each_other() -> None:
    crowd = Series("", [PlotPoint(1 + i / 50, 1 + (i * 7 % 12) / 50, name=f"method-{i}") for i in range(12)])
    chart = plot(crowd, log_x=False)
    assert len(names(chart)) > 8
    spots = [(float(t.get("x")), float(t.get("y"))) for t in chart.iter(f"{SVG}text") if t.get("class") == "name"]
    assert all(abs(a[0] - b[0]) > 20 or abs(a[1] - b[1]) > 12 for a, b in combinations(spots, 2))


def test_a_name_that_finds_no_place_is_in_the_table_all_the_same() -> None:
    crowd = Series("", [PlotPoint(1, 1 + i / 1e4, name=f"a rather long name {i}") for i in range(40)])
    chart = plot(crowd, log_x=False, y_line=claimed(9.0))
    assert len(names(chart)) < 40
    assert len(list(chart.find("details/div/table/tbody"))) == 40


def test_it_escapes_names_and_has_no_styles() -> None:
    html = scatter_chart([Series("", [PlotPoint(1, 1, name="<script>&")])], **TITLES)
    assert "<script" not in html
    assert "style=" not in html


def test_it_refuses_zero_on_a_logarithmic_axis() -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        plot(Series("", [PlotPoint(0, 1)]))
