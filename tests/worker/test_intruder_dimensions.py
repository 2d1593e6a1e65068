"""The lab on intruder dimensions: constructed weights with known answers, and the tiny model."""

import pytest
import torch

from labs.catalog.intruder_dimensions import IntruderDimensionsParameters
from tests.worker.running import finished_points, run
from worker.experiments import intruder_dimensions
from worker.experiments.intruder_dimensions import (
    TRAINED,
    directions,
    effective_weight,
    left_vectors,
    make_trainable,
    projections,
    scaled_change,
)
from worker.models.tiny import tiny_model
from worker.protocol import PointEvent
from worker.training.loop import train
from worker.training.outcomes import Diverged

PARAMS = IntruderDimensionsParameters(
    model="tiny",
    methods=["lora-1", "lora-8", "full"],
    learning_rates=[1e-3, 1e-1],
    steps=4,
    batch_size=2,
    top=3,
    threshold=0.7,
    held_out=2,
)
GENERATOR = torch.Generator().manual_seed(5)
BASE = torch.randn(12, 8, generator=GENERATOR, dtype=torch.float64)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(intruder_dimensions, "intruder-dimensions", PARAMS, tmp_path_factory.mktemp("intruders"))


@pytest.fixture(scope="module")
def points(events):
    return {key: values for (key, _), values in finished_points(events).items()}


def test_left_vectors_are_those_of_the_decomposition():
    u, values, _ = torch.linalg.svd(BASE)
    found = left_vectors(BASE)
    # Values of 8 of the 12 directions differ from zero: the others have no order.
    assert torch.einsum("ij,ij->j", u[:, :8], found[:, :8]).abs().tolist() == pytest.approx([1.0] * 8)
    assert (found.T @ found - torch.eye(12, dtype=BASE.dtype)).abs().max() < 1e-12
    assert (found.T @ BASE).norm(dim=1)[:8].tolist() == pytest.approx(values.tolist())


def test_an_untrained_weight_has_no_intruder():
    found = directions(BASE, left_vectors(BASE), 5)
    assert found.cosines.tolist() == pytest.approx([1.0] * 5)
    assert found.intruders(0.999).shape == (12, 0)


def test_a_large_direction_between_the_old_ones_is_the_one_intruder():
    vectors = left_vectors(BASE)
    between = vectors[:, :4].sum(1) / 2  # unit length, cosine one half with each of four
    right = torch.linalg.svd(BASE).Vh[-1]
    found = directions(BASE + 1e4 * torch.outer(between, right), vectors, 3)
    assert found.cosines[0].item() == pytest.approx(0.5, abs=1e-3)
    assert found.intruders(0.6)[:, 0].dot(between).abs().item() == pytest.approx(1.0, abs=1e-3)


def test_scaling_multiplies_the_singular_values_of_the_intruders_only():
    u, values, vh = torch.linalg.svd(BASE, full_matrices=False)
    changed = BASE + scaled_change(BASE, u[:, [1, 4]], 0.25)
    expected = values.clone()
    expected[[1, 4]] *= 0.25
    torch.testing.assert_close(changed, u @ torch.diag(expected) @ vh)
    assert scaled_change(BASE, u[:, [1, 4]], 1.0).abs().max() == 0


@pytest.mark.parametrize("method", ["lora-8", "full"])
def test_every_method_trains_the_same_matrices(method):
    model, base = tiny_model(), tiny_model()
    make_trainable(model, method, 0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.01
    changed = {
        name
        for name, m in projections(model)
        if not torch.equal(effective_weight(m), base.get_parameter(f"{name}.weight"))
    }
    assert changed == {name for name, _ in projections(base)}
    assert len(changed) == 2 * len(TRAINED)
    trained = {name.split(".")[4] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == set(TRAINED)


def test_what_is_counted_agrees_with_its_share(points):
    for key, values in points.items():
        if "scale=" not in key and not values["diverged"]:
            assert values["intruder_share"] == pytest.approx(100 * values["intruders"] / (8 * 3))
            assert (values["lowest_cosine"] < 0.7) == (values["intruders"] > 0)
            assert values["lowest_cosine"] <= values["mean_cosine"] <= 1.0001


def test_a_high_rate_gives_more_intruders_and_they_are_scaled(points):
    low, high = points["method=lora-1,rate=0.001"], points["method=lora-1,rate=0.1"]
    assert low["intruders"] == 0
    assert not [key for key in points if key.startswith("method=lora-1,rate=0.001,")]
    assert high["intruders"] > 0
    assert high["change"] > low["change"] > 0
    for scale in PARAMS.scales:
        scaled = points[f"method=lora-1,rate=0.1,scale={scale}"]
        assert scaled["task_change"] == pytest.approx(scaled["validation_loss"] - high["validation_loss"])
        assert scaled["prose_change"] == pytest.approx(scaled["prose_loss"] - high["prose_loss"])
        assert scaled["task_change"] != 0


def test_a_training_that_diverges_is_told_and_stops_no_other(tmp_path, monkeypatch):
    def limited(model, examples, config, *args, **kwargs):
        if config.learning_rate == 0.1:
            raise Diverged("loss too high", step=1)
        return train(model, examples, config, *args, **kwargs)

    monkeypatch.setattr(intruder_dimensions, "train", limited)
    few = PARAMS.model_copy(update={"methods": ["lora-1"], "learning_rates": [0.1, 1e-3]})
    events = run(intruder_dimensions, "intruder-dimensions", few, tmp_path)
    points = {key: values for (key, _), values in finished_points(events).items()}
    assert points["method=lora-1,rate=0.1"] == {"diverged": 1}
    assert points["method=lora-1,rate=0.001"]["diverged"] == 0


def test_a_restart_gives_the_same(events, points, tmp_path):
    kept = "method=lora-1,rate=0.1"
    finished = [e for e in events if isinstance(e, PointEvent) and not e.key.startswith(kept)]
    again = finished_points(run(intruder_dimensions, "intruder-dimensions", PARAMS, tmp_path, finished=finished))
    assert (kept, 0) in again
    for (key, _), values in again.items():
        assert values == points[key]
