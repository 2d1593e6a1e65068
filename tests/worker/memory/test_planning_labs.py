"""The ladder and the fit planner, on shapes small enough for a test."""

import pytest

from labs.catalog.fit_planner import CHANGES, RECIPES, FitPlannerParameters, passes, recipe_of
from labs.catalog.memory_ladder import RUNGS, MemoryLadderParameters
from labs.catalog.memory_ladder import recipe_of as rung_of
from labs.memory.context import CONTEXT
from tests.worker.running import finished_points, run
from worker.experiments import fit_planner, memory_ladder
from worker.memory.simulate import simulate

SMALL = {"sequence_length": 64}


def test_each_rung_keeps_what_was_changed_before():
    recipe = rung_of("lora", "llama-2-7b", 16, 1, 512)
    changed = (recipe.method, recipe.weights, recipe.checkpointing, recipe.loss, recipe.optimizer)
    assert changed == ("lora", "bfloat16", "non-reentrant", "fused", "adamw-8bit")
    assert rung_of("nf4", "llama-2-7b", 16, 1, 512).weights == "nf4"
    assert rung_of("float32", "llama-2-7b", 16, 1, 512).method == "full"


@pytest.fixture(scope="module")
def ladder(tmp_path_factory) -> dict:
    params = MemoryLadderParameters(model="smollm2-135m", **SMALL)
    return finished_points(run(memory_ladder, "memory-ladder", params, tmp_path_factory.mktemp("ladder"), seeds=(0, 1)))


def test_the_ladder_is_what_the_simulator_says(ladder):
    simulated = simulate(rung_of("bfloat16", "smollm2-135m", 16, 1, 64))
    assert ladder["rung=bfloat16", 0]["peak"] == simulated.peak_bytes / 2**30
    assert ladder["rung=bfloat16", 0] == ladder["rung=bfloat16", 1]
    parts = [
        v["at_peak"] for (key, seed), v in ladder.items() if key.endswith("rung=nf4") and "at_peak" in v and not seed
    ]
    assert sum(parts) == pytest.approx(ladder["rung=nf4", 0]["peak"])


def test_savings_are_against_the_rung_before(ladder):
    first, second = ladder["rung=float32", 0]["peak"], ladder["rung=bfloat16", 0]["peak"]
    found = ladder["against=before,rung=bfloat16", 0]
    assert found["saving"] == pytest.approx(100 * (1 - second / first))
    assert found["share_of_first"] == pytest.approx(100 * second / first)
    assert len([key for key, seed in ladder if key.startswith("against=") and seed == 0]) == len(RUNGS) - 1


def test_passes_count_forward_backward_and_what_is_done_again():
    assert {name: passes(name) for name in RECIPES} == {
        "full": 3,
        "full-small": 4,
        "lora": 2,
        "lora-checkpointing": 3,
        "lora-small": 3,
        "qlora": 2,
        "qlora-checkpointing": 3,
        "qlora-small": 3,
    }


def test_what_fits_is_doubled_and_put_in_order(tmp_path, monkeypatch):
    """Of two recipes, one of which needs more than the card has."""
    monkeypatch.setattr(fit_planner, "RECIPES", ("full", "lora"))
    params = FitPlannerParameters(models=["llama-3.2-1b"], gpu_gib=8, most_rows=4, **SMALL)
    points = finished_points(run(fit_planner, "fit-planner", params, tmp_path))
    lora, full = points["model=llama-3.2-1b,recipe=lora", 0], points["model=llama-3.2-1b,recipe=full", 0]
    assert (full["fits"], full["rows"], lora["fits"]) == (0, 0, 1)
    assert full["headroom"] == pytest.approx(8 - CONTEXT / 2**30 - full["reserved"])
    largest = simulate(recipe_of("lora", "llama-3.2-1b", 16, int(lora["rows"]), 64)).reserved_bytes / 2**30
    assert lora["rows"] in (1, 2, 4)
    assert largest <= 8 - CONTEXT / 2**30
    assert points["model=llama-3.2-1b,order=tried,recipe=lora", 0]["place"] == 1
    assert ("model=llama-3.2-1b,order=tried,recipe=full", 0) not in points


def test_every_recipe_is_one_that_can_be_asked_for():
    for name in CHANGES:
        recipe_of(name, "llama-2-7b", 16, 1, 1024)
