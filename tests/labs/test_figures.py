"""A lab's declared charts, drawn from the runs that there are."""

import re
from dataclasses import replace

import pytest
from django.utils import translation

from kb.text import Text
from labs.catalog import get_lab
from labs.declaration import NO_TEXT, Chart
from labs.figures import compared_figures, figures
from labs.models import Run
from labs.queries import results
from labs.services import run_request
from tests.builders import add_values, make_run, with_losses

pytestmark = pytest.mark.django_db
SWEEP, MERGE, RANKS = get_lab("rank-sweep"), get_lab("merge-check"), get_lab("adalora-ranks")


def test_charts_without_data_are_left_out():
    assert figures(SWEEP, None) == []
    assert figures(SWEEP, make_run()) == []
    assert len(figures(SWEEP, with_losses(make_run(preset="standard"), 1.0, 1.1))) == 1


def test_a_chart_names_both_series_of_the_declaration():
    (figure,) = figures(SWEEP, with_losses(make_run(), 1.0, 1.1))
    assert "Validation loss" in figure
    assert "α fixed" in figure
    assert "α = 2r" in figure


def test_a_chart_speaks_chinese():
    run = with_losses(make_run(), 1.0, 1.1)
    with translation.override("zh-hans"):
        (figure,) = figures(SWEEP, run)
    assert "α 固定" in figure


def test_ones_own_run_is_drawn_beside_the_reference(alice):
    reference, own = with_losses(make_run(), 1.0, 1.1), with_losses(make_run(alice), 2.0)
    alone, both = figures(SWEEP, reference)[0], figures(SWEEP, reference, own)[0]
    assert both.count(' own"') > alone.count(' own"') == 0


def test_a_bar_chart_takes_only_the_points_it_asks_for():
    run = make_run(lab="merge-check")
    for variant in ("base", "merged"):
        add_values(run, "latency", f"dtype=float32,shape=1x1,variant={variant}", 5.0, 5.5)
    assert len(figures(MERGE, run)) == 1
    add_values(run, "latency", "dtype=bfloat16,shape=1x1,variant=base", 5.0, 5.5)
    assert len(figures(MERGE, run)) == 2


@pytest.mark.parametrize("lab", [SWEEP, MERGE], ids=lambda lab: lab.slug)
def test_every_declared_chart_can_be_drawn(lab):
    """From values at points that have every setting the chart asks for."""
    run = Run.objects.get(pk=make_run(lab=lab.slug).pk)
    for chart in lab.charts:
        for x in _places(chart):
            for series in list(chart.series_titles) or ["one"]:
                settings = {chart.x: x} | ({chart.series: series} if chart.series else {}) | chart.where
                point = ",".join(f"{name}={settings[name]}" for name in sorted(settings))
                if not run.values.filter(name=chart.metric, point=point).exists():
                    add_values(run, chart.metric, point, 1.0, 2.0)  # an interval from below zero
    assert len(figures(lab, run)) == len(lab.charts)


def test_a_heat_map_orders_rows_as_declared_and_columns_by_number(alice):
    run = make_run(lab="adalora-ranks")
    for module, layer, rank in (("v_proj", 10, 6.0), ("v_proj", 9, 3.0), ("q_proj", 9, 1.0)):
        add_values(run, "rank", f"layer={layer},module={module}", rank)
    (figure,) = figures(RANKS, run)
    table = figure[figure.index("<table") :]
    assert re.findall(r"<t[hd][^>]*>([^<]+)", table) == ["layer", "q_proj", "v_proj", "9", "1", "3", "10", "—", "6"]
    own = add_values(make_run(alice, lab="adalora-ranks"), "rank", "layer=9,module=q_proj", 2.0)
    assert "Your run" in figures(RANKS, run, own)[0]
    assert "Your run" in figures(RANKS, None, own)[0]


def test_what_a_logarithmic_axis_cannot_show_is_left_out():
    run = add_values(make_run(), "trainable_parameters", "rank=8,scaling=double", 0.0)
    assert figures(SWEEP, run) == []
    add_values(run, "trainable_parameters", "rank=64,scaling=double", 10.0)
    assert len(figures(SWEEP, run)) == 1


def _places(chart: Chart) -> list[str]:
    return ["bfloat16", "float32"] if chart.kind == "bar" else ["1", "8"]


def test_every_chart_belongs_to_a_metric_and_has_titles():
    for lab in (SWEEP, MERGE):
        for chart in lab.charts:
            lab.metric(chart.metric)
            assert NO_TEXT not in (chart.title, chart.x_title)
            assert all((chart.title.en, chart.title.zh))


def test_every_metric_has_titles_in_both_languages():
    for lab in (SWEEP, MERGE):
        assert all(metric.title.en and metric.title.zh for metric in lab.metrics)
        assert run_request(lab_slug=lab.slug).params


PARETO = replace(
    SWEEP,
    charts=(
        Chart(
            "validation_loss",
            Text(en="Loss against size", zh="损失与大小"),
            x="rank",
            x_title=Text(en="rank r", zh="秩 r"),
            x_titles={"8": Text(en="eight", zh="八")},
            x_metric="trainable_parameters",
            series="scaling",
            series_titles={"double": Text(en="α = 2r", zh="α = 2r")},
            kind="scatter",
            log_x=True,
        ),
    ),
)


def with_sizes(run: Run, *ranks: int) -> Run:
    for rank in ranks:
        add_values(run, "validation_loss", f"rank={rank},scaling=double", 1.0 / rank, 1.1 / rank)
        add_values(run, "trainable_parameters", f"rank={rank},scaling=double", 1000.0 * rank)
    return run


def test_a_scatter_chart_takes_points_that_have_both_metrics(alice):
    run = with_sizes(make_run(), 8, 16)
    add_values(run, "validation_loss", "rank=32,scaling=double", 0.1)
    (figure,) = figures(PARETO, run)
    assert "eight: 0.1313" in figure
    assert "16: 0.06563" in figure
    assert "32: 0.1" not in figure
    assert figures(PARETO, add_values(make_run(alice), "validation_loss", "rank=32,scaling=double", 0.1)) == []


def test_a_scatter_chart_has_a_front_where_both_metrics_have_a_direction():
    run = with_sizes(make_run(), 8, 16)
    assert 'class="front"' in figures(PARETO, run)[0]
    metrics = tuple(replace(metric, better="") for metric in PARETO.metrics)
    assert 'class="front"' not in figures(replace(PARETO, metrics=metrics), run)[0]


def test_compared_runs_share_one_scatter_chart(alice):
    found = {"Run 1": results(with_sizes(make_run(alice), 8, 16)), "Run 2": results(with_sizes(make_run(alice), 8))}
    (figure,) = compared_figures(PARETO, found)
    assert figure.count('class="front"') == 3  # one each and one in the legend
    assert "Run 2 · eight · α = 2r" in figure


def test_bars_have_the_titles_of_the_declaration():
    chart = MERGE.charts[0]
    named = replace(MERGE, charts=(replace(chart, x_titles={"float32": Text(en="single", zh="单精度")}),))
    run = make_run(lab="merge-check")
    for variant in ("base", "merged"):
        settings = {chart.x: "float32"} | ({chart.series: variant} if chart.series else {}) | chart.where
        add_values(run, chart.metric, ",".join(f"{name}={settings[name]}" for name in sorted(settings)), 5.0)
    assert ">single<" in figures(named, run)[0]
