"""The lab on learning rates: optima of known curves, full fine-tuning against a plain loop, named divergence."""

import math

import numpy as np
import pytest
import torch

from labs.catalog.learning_rate import LearningRateParameters, adapter_methods
from tests.worker.running import finished_points, run
from worker.data.facts import load_facts
from worker.experiments import learning_rate
from worker.experiments.learning_rate import optimum
from worker.models.tiny import tiny_model, tiny_tokenizer
from worker.training.config import data_order
from worker.training.examples import collate, encode_facts
from worker.training.loss import answer_loss, evaluate
from worker.trials import training_config

# A rate that surely diverges is beyond what a learner may ask for.
PARAMS = LearningRateParameters(model="tiny", rank=2, alpha=4, ratios=[4], steps=3, batch_size=4).model_copy(
    update={"rates": [1e-3, 1e-2, 1e30], "full_rates": [1e-3, 1e-2, 1e30]}
)


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    events = run(learning_rate, "learning-rate", PARAMS, tmp_path_factory.mktemp("rates"))
    return {key: values for (key, _), values in finished_points(events).items()}


def test_the_optimum_of_a_parabola_is_its_vertex():
    """Whatever the spacing of the grid."""
    for rates in ([1e-4, 1e-3, 1e-2, 1e-1], [1e-4, 3e-4, 2e-3, 5e-2]):
        losses = {rate: 1 + 0.3 * (math.log10(rate) + 2.8) ** 2 for rate in rates}
        assert optimum(losses) == pytest.approx(10**-2.8)


def test_the_optimum_agrees_with_numpy():
    losses = {1e-4: 3.1, 3e-4: 2.2, 1e-3: 1.9, 3e-3: 2.6, 1e-2: 8.0}
    square, linear, _ = np.polyfit(np.log([3e-4, 1e-3, 3e-3]), [2.2, 1.9, 2.6], 2)
    assert optimum(losses) == pytest.approx(math.exp(-linear / (2 * square)))


def test_the_last_rate_before_divergence_is_the_optimum():
    assert optimum({1e-3: 2.0, 1e-2: 1.0}) == 1e-2
    assert optimum({1e-3: 1.0, 1e-2: 1.0, 1e-1: 1.0}) == 1e-3


def test_full_fine_tuning_is_that_of_a_plain_loop(points):
    """AdamW on all weights, clipped at 1, after a warm-up of three steps."""
    model, examples = tiny_model(), encode_facts(load_facts(), tiny_tokenizer())
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0)
    config = training_config(steps=3, batch_size=4, rate=1e-2, seed=0)
    for step, indices in enumerate(data_order(len(examples.training), config)):
        answer_loss(model, collate([examples.training[i] for i in indices])).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = 1e-2 * (step + 1) / 3
        optimizer.step()
        optimizer.zero_grad()
    expected = evaluate(model, examples.validation).loss
    assert points["method=full,rate=0.01"]["validation_loss"] == pytest.approx(expected, rel=1e-5)


def test_what_diverges_is_told_and_has_no_loss(points):
    for method in ("full", "lora", "lora-plus-4"):
        assert points[f"method={method},rate=1e+30"] == {"diverged": 1}
        assert points[f"method={method}"]["diverged"] == 0


def test_every_method_begins_at_the_same_base(tmp_path, points):
    """After other rates, and after one that diverged."""
    alone = PARAMS.model_copy(update={"rates": [1e-2], "full_rates": [1e-2], "ratios": []})
    events = run(learning_rate, "learning-rate", alone, tmp_path)
    for (key, _), values in finished_points(events).items():
        if "rate=" in key:
            assert values == pytest.approx(points[key], rel=1e-4)


def test_a_ratio_changes_the_rate_of_b_only(points):
    assert adapter_methods(PARAMS) == {"lora": 1, "lora-plus-4": 4}
    plain, plus = (points[f"method={method},rate=0.001"]["validation_loss"] for method in ("lora", "lora-plus-4"))
    assert plus < plain  # in three steps, in which hardly anything moves


def test_comparisons_follow_from_the_best_of_each(points):
    lora, full, plus = (points[f"method={method}"] for method in ("lora", "full", "lora-plus-4"))
    assert lora["best_rate"] == full["best_rate"] == 1e-2
    assert lora["optimum"] == 1e-2
    assert points[""] == {"rate_ratio": 1, "optimum_ratio": 1, "borrowed_rate_cost": 0}
    assert full["gain"] == lora["best_loss"] - full["best_loss"]
    assert plus["gain"] == lora["best_loss"] - plus["best_loss"]
    assert "gain" not in lora
