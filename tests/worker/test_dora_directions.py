"""The lab on lengths and directions: its two measures by geometry, its weights against PEFT's own merge."""

import math

import pytest
import torch
from peft.tuners.lora import LoraLayer

from labs.catalog.dora_directions import DoraDirectionsParameters
from tests.worker.running import finished_points, run
from worker.experiments import dora_directions
from worker.experiments.dora_directions import Change, correlation, matrix_change, measured_weights, prepare
from worker.models.tiny import tiny_model

PARAMS = DoraDirectionsParameters(model="tiny", steps=4, batch_size=2, learning_rate=1e-2, full_learning_rate=1e-3)
BASE = torch.tensor([[3.0, 4.0], [1.0, 0.0]])


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dora")
    found = finished_points(run(dora_directions, "dora-directions", PARAMS, folder))
    assert len(list(folder.glob("changes-*.csv"))) == 3
    return {key: values for (key, _), values in found.items()}


def test_longer_rows_change_magnitude_only():
    assert matrix_change(BASE * torch.tensor([[2.0], [0.5]]), BASE) == pytest.approx((2.75, 0), abs=1e-12)


@pytest.mark.parametrize("angle", [1e-4, 0.3, math.pi / 2])
def test_turned_rows_change_direction_only(angle):
    cos, sin = math.cos(angle), math.sin(angle)
    turned = BASE.double() @ torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
    magnitude, direction = matrix_change(turned, BASE)
    assert magnitude == pytest.approx(0, abs=1e-12)
    assert direction == pytest.approx(2 * math.sin(angle / 2) ** 2, rel=1e-6)


def test_the_correlation_is_pearsons():
    found = [Change("q_proj", layer, 1, magnitude, layer) for layer, magnitude in enumerate([1.0, 3.0, 2.0])]
    assert correlation(found) == pytest.approx(0.5)


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_the_weights_in_effect_are_those_that_peft_merges(method):
    model = tiny_model()
    prepare(model, PARAMS, method, seed=0)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.rand_like(parameter)
            assert "lora_" in name
    found = dict(measured_weights(model, PARAMS))
    assert len(found) == 4  # q and v of two layers
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            module.merge()
            torch.testing.assert_close(found[name], module.get_base_layer().weight.data)


def test_a_fresh_dora_is_the_base():
    base = dict(measured_weights(tiny_model(), PARAMS))
    model = tiny_model()
    prepare(model, PARAMS, "dora", seed=0)
    for name, weight in measured_weights(model, PARAMS):
        torch.testing.assert_close(weight, base[name])


def test_every_method_moves_and_is_measured_four_times(points):
    for method in ("lora", "dora", "full"):
        for module in ("q_proj", "v_proj"):
            assert -1 <= points[f"method={method},module={module}"]["correlation"] <= 1
            moved = [points[f"method={method},module={module},step={step}"] for step in (1, 2, 3, 4)]
            assert all(values["direction_change"] > 0 for values in moved)
            assert moved[-1]["direction_change"] > moved[0]["direction_change"]


def test_methods_differ_from_the_first_step_on(points):
    first = {method: points[f"method={method},module=q_proj,step=1"] for method in ("lora", "dora", "full")}
    # Adam moves every weight by about the rate in its first step, so full fine-tuning has a closed form.
    assert first["full"]["direction_change"] == pytest.approx(full_first_step(), rel=0.05)
    assert first["lora"] != first["dora"]


def full_first_step() -> float:
    """Half the squared relative size of a step of ±rate in every entry, averaged over rows: nearly all of it turns."""
    rate = PARAMS.full_learning_rate
    weights = [weight for name, weight in measured_weights(tiny_model(), PARAMS) if name.endswith("q_proj")]
    return sum((0.5 * rate**2 * w.shape[1] / w.square().sum(1)).mean().item() for w in weights) / len(weights)
