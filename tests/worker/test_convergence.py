"""The lab on convergence, on the tiny model: clocks against sums of their own, outcomes that are not numbers."""

import pytest

from labs.catalog.convergence import ConvergenceParameters
from tests.worker.running import finished_points, run
from worker.data.sets import load
from worker.experiments import convergence
from worker.experiments.convergence import steps_to, training_config
from worker.models.tiny import tiny_model, tiny_tokenizer
from worker.protocol import PointEvent
from worker.training.config import data_order
from worker.training.cost import measure_flops, total_flops
from worker.training.examples import encode_facts, padded_shape
from worker.training.loop import train
from worker.training.outcomes import Diverged

METHODS = ["lora", "pissa", "lora-ga", "full"]
PARAMS = ConvergenceParameters(
    model="tiny", steps=8, batch_size=2, rank=2, learning_rates=[1e-2, 3e-3], target_loss=5.5
)
CURVE = [(0, 4.0), (10, 2.0), (20, 1.0)]


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(convergence, "convergence", PARAMS, tmp_path_factory.mktemp("convergence"))


@pytest.fixture(scope="module")
def points(events):
    return {key: values for (key, _), values in finished_points(events).items()}


def test_the_target_is_found_on_straight_lines():
    assert steps_to(CURVE, 3.0) == 5
    assert steps_to(CURVE, 1.5) == 15
    assert steps_to(CURVE, 1.0) == 20
    assert steps_to(CURVE, 4.0) == 0
    assert steps_to(CURVE, 0.9) is None


def test_full_fine_tuning_costs_the_operations_that_are_counted(points):
    examples = encode_facts(load("facts"), tiny_tokenizer()).training
    config = training_config(PARAMS, "full", 0, 1e-2, 8)
    assert config.learning_rate == pytest.approx(1e-3)
    shapes = [[padded_shape([examples[i] for i in rows])] for rows in data_order(len(examples), config)]
    flops = total_flops(measure_flops(tiny_model().requires_grad_(True)), shapes) / 8
    tokens = sum(shape.tokens for (shape,) in shapes) / 8
    found = points["method=full"]
    assert found["reached"] == 1
    assert found["step_flops"] == pytest.approx(flops)
    assert found["flops_to_target"] == pytest.approx(flops * found["steps_to_target"])
    assert found["tokens_to_target"] == pytest.approx(tokens * found["steps_to_target"])
    assert found["seconds_to_target"] >= found["step_seconds"] * found["steps_to_target"]


def test_adapters_save_operations_and_a_gradient_costs_some(points):
    step = {method: points[f"method={method}"]["step_flops"] for method in METHODS}
    assert step["lora"] == step["pissa"] == step["lora-ga"] < step["full"]
    found = points["method=lora-ga"]
    # Four batches with gradients of all linear layers cost at most four steps of full fine-tuning.
    setup = found["flops_to_target"] - step["lora-ga"] * found["steps_to_target"]
    assert 3 * step["lora"] < setup < 5 * step["full"]


def test_each_method_is_judged_at_the_rate_that_reaches_the_target_first(points):
    for method in METHODS:
        best, rates = points[f"method={method}"], [points[f"method={method},rate={r}"] for r in PARAMS.learning_rates]
        assert best["steps_to_target"] == min(r["steps_to_target"] for r in rates if r["reached"])
        at_best = f"method={method},rate={best['best_rate']}"
        for step in (4, 8):
            moment = points[f"method={method},step={step}"]["best_moment_loss"]
            assert moment == points[f"{at_best},step={step}"]["moment_loss"]
        assert points[f"method={method},step=8"]["best_moment_loss"] == best["final_loss"]


def test_ratios_are_over_the_clocks_of_lora(points):
    default = points["method=lora"]
    assert "steps_ratio" not in default
    for method in METHODS[1:]:
        found = points[f"method={method}"]
        for clock in ("steps", "flops", "seconds"):
            expected = default[f"{clock}_to_target"] / found[f"{clock}_to_target"]
            assert found[f"{clock}_ratio"] == pytest.approx(expected)


def test_a_target_that_is_never_reached_is_an_outcome(tmp_path):
    hard = PARAMS.model_copy(update={"target_loss": 0.1, "methods": ["lora", "full"]})
    points = {key: v for (key, _), v in finished_points(run(convergence, "convergence", hard, tmp_path)).items()}
    for method in ("lora", "full"):
        found = points[f"method={method}"]
        assert found["reached"] == 0
        assert not {"steps_to_target", "steps_ratio"} & set(found)
        rates = [points[f"method={method},rate={rate}"]["final_loss"] for rate in hard.learning_rates]
        assert found["final_loss"] == min(rates)


def test_a_rate_that_diverges_is_told_and_left_out(tmp_path, monkeypatch):
    def limited(model, examples, config, *args, **kwargs):
        if config.learning_rate > 0.005:
            raise Diverged("loss too high", step=3)
        return train(model, examples, config, *args, **kwargs)

    monkeypatch.setattr(convergence, "train", limited)
    alone = PARAMS.model_copy(update={"methods": ["lora"]})
    points = {key: v for (key, _), v in finished_points(run(convergence, "convergence", alone, tmp_path)).items()}
    assert points["method=lora,rate=0.01"] == {"diverged": 1, "reached": 0}
    assert points["method=lora"]["best_rate"] == 3e-3
    wild = alone.model_copy(update={"learning_rates": [1e-2]})
    points = {key: v for (key, _), v in finished_points(run(convergence, "convergence", wild, tmp_path)).items()}
    assert points["method=lora"] == {"diverged": 1, "reached": 0}


def test_a_restart_gives_the_same(events, points, tmp_path):
    finished = [e for e in events if isinstance(e, PointEvent) and e.key != "method=pissa"]
    again = finished_points(run(convergence, "convergence", PARAMS, tmp_path, finished=finished))
    assert list(again) == [("method=pissa", 0)]
    assert again["method=pissa", 0] == points["method=pissa"]
