"""The zoo of methods, on the tiny model."""

from dataclasses import replace

import pytest

from labs.catalog.peft_zoo import METHODS, PeftZooParameters
from tests.worker.running import finished_points, run
from worker.adapters import save_adapter
from worker.experiments import peft_zoo
from worker.methods.setting import Setting
from worker.methods.table import ATTACH
from worker.models.tiny import tiny_model
from worker.protocol import FinishedPoint, PointEvent

PARAMS = PeftZooParameters(
    model="tiny",
    methods=["full", "adalora", "bitfit", "lora", "lora-fa", "prompt"],
    rates=2,
    rank=4,
    alpha=8,
    steps=6,
    batch_size=4,
    prose_passages=1,
)
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(peft_zoo, "peft-zoo", PARAMS, tmp_path_factory.mktemp("zoo"), seeds=SEEDS)


@pytest.fixture(scope="module")
def points(events):
    return finished_points(events)


def test_the_first_seed_tries_the_grid_and_all_seeds_take_its_best_rate(points):
    for name in PARAMS.methods:
        rates = METHODS[name].rates[:2]
        tries = {rate: points[f"method={name},rate={rate}", 0] for rate in rates}
        best = min(rates, key=lambda rate: tries[rate]["choice_loss"])
        first = points[f"method={name}", 0]
        assert first["rate"] == best
        assert "at_grid_edge" not in first  # two rates have no inside
        assert first["validation_loss"] == tries[best]["rate_loss"]
        assert first["prose_change"] == tries[best]["rate_prose_change"]
        assert points[f"method={name}", 1]["validation_loss"] > 0
    assert not any("rate=" in key for key, seed in points if seed == 1)


def test_what_no_seed_changes_is_measured_once(points):
    for name in PARAMS.methods:
        assert {"trainable_parameters", "adapter_bytes", "peak_memory"} <= points[f"method={name}", 0].keys()
        assert not {"trainable_parameters", "adapter_bytes", "peak_memory"} & points[f"method={name}", 1].keys()


def test_methods_are_compared_with_lora_seed_by_seed(points):
    for seed in SEEDS:
        lora = points["method=lora", seed]
        for name in PARAMS.methods:
            own = points[f"method={name}", seed]
            if name != "lora":
                assert own["gain_over_lora"] == lora["validation_loss"] - own["validation_loss"]
                assert own["forgetting_over_lora"] == own["prose_change"] - lora["prose_change"]
    assert "gain_over_lora" not in points["method=lora", 0]


def test_the_size_of_an_adapter_is_that_of_pefts_file(points, tmp_path):
    adapted = ATTACH["lora"](tiny_model(), Setting(4, 8, 6, 0, [])).adapted
    file = save_adapter(adapted, tmp_path)
    assert points["method=lora", 0]["adapter_bytes"] == file.stat().st_size
    full = points["method=full", 0]
    assert 0 < full["adapter_bytes"] - 4 * full["trainable_parameters"] < 5000  # names and shapes


def test_memory_holds_four_copies_of_what_is_trained_and_activations_of_what_needs_them(points):
    base = 4e-6 * sum(p.numel() for p in tiny_model().parameters())
    peak = {name: points[f"method={name}", 0]["peak_memory"] for name in PARAMS.methods}
    assert peak["full"] > 4 * base
    # With A frozen nobody needs the inputs of A.
    assert base < peak["lora-fa"] < peak["lora"] < peak["full"]


def test_a_killed_run_goes_on_where_it_was(events, points, tmp_path):
    kept = [e for e in events if isinstance(e, PointEvent) and "method=prompt" not in e.key]
    finished = [FinishedPoint(key=e.key, seed=e.seed, metrics=e.metrics) for e in kept]
    again = finished_points(run(peft_zoo, "peft-zoo", PARAMS, tmp_path, seeds=SEEDS, finished=finished))
    assert {key for key, _ in again} == {
        "method=prompt",
        *(f"method=prompt,rate={r}" for r in METHODS["prompt"].rates[:2]),
    }
    for key, values in again.items():
        clockless = {name: value for name, value in values.items() if "seconds" not in name}
        assert clockless == {name: points[key][name] for name in clockless}


def test_to_diverge_at_every_rate_is_an_outcome(monkeypatch, tmp_path):
    wild = {"full": replace(METHODS["full"], rates=(1e3, 1e4, 1e5))}
    monkeypatch.setattr(peft_zoo, "METHODS", METHODS | wild)
    params = PARAMS.model_copy(update={"methods": ["full", "lora"], "rates": 1})
    points = finished_points(run(peft_zoo, "peft-zoo", params, tmp_path, seeds=SEEDS))
    assert points["method=full,rate=10000.0", 0] == {"rate_diverged": 1}
    assert points["method=full", 1] == {"diverged": 1}
    assert points["method=full", 0]["diverged"] == 1
    assert "validation_loss" not in points["method=full", 0]
    assert points["method=lora", 1]["diverged"] == 0


def test_grids_begin_in_the_middle():
    assert peft_zoo.grid("lora", 1) == [3e-3]
    assert peft_zoo.grid("lora", 3) == [3e-3, 1e-3, 1e-2]
