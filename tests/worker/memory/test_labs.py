"""The two labs of this package, run on the tiny model."""

import json

import pytest

from labs.catalog.memory_profile import MemoryProfileParameters
from tests.worker.memory.conftest import small_recipe
from tests.worker.running import finished_points, run
from worker.experiments import memory_profile, memory_simulator


def test_the_simulator_gives_totals_and_categories(tmp_path):
    recipe = small_recipe(weights="bfloat16")
    points = finished_points(run(memory_simulator, "memory-simulator", recipe, tmp_path))
    whole = points["", 0]
    parts = {key: values["at_peak"] for (key, _), values in points.items() if key.startswith("category=")}
    assert sum(parts.values()) == pytest.approx(whole["peak"])
    assert whole["steady"] < whole["peak"] < whole["allocated"] < whole["reserved"]
    kept = json.loads((tmp_path / "simulation.json").read_text())
    assert kept["peak_moment"]["phase"] in {"loss", "backward", "optimizer"}
    assert len(kept["timeline"]) <= 400
    assert max(moment["bytes"] for moment in kept["timeline"]) == kept["peak_bytes"]
    assert kept["context_bytes"] > 0
    assert "lazy loading" in kept["context_source"]


def test_the_profile_compares_measured_with_simulated(tmp_path):
    params = MemoryProfileParameters(model="tiny", methods=["full", "lora"], sequence_length=16)
    points = finished_points(run(memory_profile, "memory-profile", params, tmp_path, seeds=(0, 1)))
    assert points["", 0]["largest_difference"] == 0
    assert points["method=lora", 0] == points["method=lora", 1]
    lora, full = points["method=lora", 0]["peak"], points["method=full", 0]["peak"]
    assert points["against=full,method=lora", 0]["ratio_to_full"] == pytest.approx(lora / full)
    assert points["category=gradients,method=full", 0]["at_peak"] > 0
