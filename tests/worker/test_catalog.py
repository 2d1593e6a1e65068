"""Every lab is two files of one name, and its declaration is complete."""

import pkgutil
from importlib import import_module

import pytest

import labs.catalog
import worker.experiments
from kb.text import Text
from labs.catalog import all_labs, get_lab, module_name
from labs.declaration import Lab
from labs.numbers import WORD_UNITS

SYMBOLS = {"", "%", "×", "s", "ms", "MB", "GiB"}  # units that are the same in all languages
EVERY_LAB = pytest.mark.parametrize("lab", all_labs().values(), ids=lambda lab: lab.slug)


def modules(package) -> set[str]:
    return {module.name for module in pkgutil.iter_modules(package.__path__)}


def test_every_declaration_has_an_experiment_and_the_other_way_round():
    assert modules(labs.catalog) == modules(worker.experiments)


@EVERY_LAB
def test_the_slug_is_the_name_of_the_files(lab: Lab):
    assert import_module(f"labs.catalog.{module_name(lab.slug)}").LAB is lab
    assert callable(import_module(f"worker.experiments.{module_name(lab.slug)}").run)


@EVERY_LAB
def test_every_preset_is_valid_and_quick_is_the_default(lab: Lab):
    assert set(lab.presets) == {"quick", "standard", "gpu"}
    for preset in lab.presets.values():
        lab.parameters(**preset.params)
        assert preset.seeds
        assert preset.expected_seconds > 0
    assert lab.parameters(**lab.presets["quick"].params) == lab.parameters()
    assert len(lab.presets["standard"].seeds) >= 3  # one seed is not a result


@EVERY_LAB
def test_every_chart_draws_a_declared_metric(lab: Lab):
    assert lab.charts
    for chart in lab.charts:
        assert lab.metric(chart.metric)
        assert bool(chart.x_metric) == (chart.kind == "scatter")
        assert not chart.x_metric or lab.metric(chart.x_metric)


@EVERY_LAB
def test_every_text_has_both_languages(lab: Lab):
    texts = [lab.title, lab.question, lab.summary, lab.takeaway]
    texts += [metric.title for metric in lab.metrics] + [chart.title for chart in lab.charts]
    for name, field in lab.parameters.model_json_schema()["properties"].items():
        texts += [
            Text(en=field["title"], zh=field["title_zh"]),
            Text(en=field["description"], zh=field["description_zh"]),
        ]
        assert field["title"] != name
    assert all(text.en and text.zh for text in texts)


@EVERY_LAB
def test_every_unit_is_a_symbol_or_can_be_translated(lab: Lab):
    assert {metric.unit for metric in lab.metrics} <= WORD_UNITS.keys() | SYMBOLS


@EVERY_LAB
def test_every_parameter_has_bounds(lab: Lab):
    """A form without a bound would let one learner occupy a worker for good."""
    for name, field in lab.parameters.model_json_schema()["properties"].items():
        bounds = {"enum", "maximum", "maxItems", "maxLength", "const"}
        assert bounds & set(field) or field["type"] == "boolean", name


def test_the_metrics_of_a_lab_have_different_names():
    for lab in all_labs().values():
        names = [metric.name for metric in lab.metrics]
        assert len(set(names)) == len(names)
    with pytest.raises(KeyError, match="rank-sweep has no metric 'accuracy'; it has validation_loss"):
        get_lab("rank-sweep").metric("accuracy")
