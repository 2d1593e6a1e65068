"""Published memory measurements: the data file is sound, and the page says what a comparison found."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from labs.formulas.memory import lora_training_peak
from labs.memory.recipe import Recipe
from worker.validation import Comparison, compare, page, read, summary

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Fixed:
    allocated_bytes: int
    reserved_bytes: int


@pytest.fixture(scope="module")
def validation():
    return read(ROOT / "bench/memory_validation.yaml")


def fixed(recipe: Recipe) -> Fixed:
    return Fixed(10 * 10**9, 20 * 10**9)


def test_every_recipe_can_be_asked_for(validation):
    for measurement in validation.measurements:
        Recipe(**measurement.recipe)
        assert measurement.source in validation.sources
        assert float(measurement.published) > 0
        assert len(measurement.commit) == 40


def test_reserved_is_compared_with_reserved(validation):
    found = list(compare(validation, fixed))
    assert len(found) == len(validation.measurements)
    ours = {comparison.measurement.source: comparison.ours for comparison in found}
    assert ours == {"peft": 20e9, "litgpt": 10e9, "torchtune": 10e9}


def test_units_are_those_of_the_source(validation):
    published = {c.measurement.setting: c.published for c in compare(validation, fixed)}
    assert published["LoRA, rank 32, query and value"] == 22_273_851_392
    assert published["Llama 2 7B, bf16, micro-batch 1"] == 21.30e9
    assert published["Llama 3.2 3B, full, 2 × 4096 packed"] == 60 * 2**30


def test_equal_recipes_are_simulated_once(validation):
    asked = []
    list(compare(validation, lambda recipe: asked.append(recipe) or fixed(recipe)))
    assert len(asked) == len(set(asked)) == len(validation.measurements) - 1


def test_errors_are_signed(validation):
    first = validation.measurements[0]
    comparisons = [Comparison(first, 100, ours) for ours in (90, 105, 140)]
    assert [round(comparison.error) for comparison in comparisons] == [-10, 5, 40]
    assert summary(comparisons) == (
        "3 measurements: median of the signed errors **+5.0 %**, the largest **+40.0 %**, the smallest **-10.0 %**; "
        "median of their sizes 10.0 %."
    )
    with_sums = [Comparison(first, 100, 90, 98), Comparison(first, 100, 90)]
    assert summary(with_sums).endswith(
        "The closed form covers 1 of them: median of the signed errors **-2.0 %**, the largest **-2.0 %**, "
        "the smallest **-2.0 %**; median of their sizes 2.0 %."
    )


def test_the_closed_form_stands_beside_the_simulation(validation):
    sums = {c.measurement.setting: c.closed_form for c in compare(validation, fixed)}
    expected = lora_training_peak("llama-3.2-3b", "q_proj,v_proj", 32, 4, 768, checkpointing=False, unit="B")
    assert sums["LoRA, rank 32, query and value"] == expected
    assert sums["IA³ on key, value and down"] is None


def test_the_page_has_every_row_and_its_source(validation):
    text = page(validation, list(compare(validation, fixed)), "torch 9")
    for measurement in validation.measurements:
        assert f"| {measurement.setting} |" in text
        assert measurement.commit in text
    assert "torch 9" in text
    assert "## Left out" in text


def test_the_page_that_is_shipped_has_every_row(validation):
    shipped = (ROOT / "docs/memory-validation.md").read_text(encoding="utf-8")
    missing = [m.setting for m in validation.measurements if f"| {m.setting} |" not in shipped]
    assert missing == []
