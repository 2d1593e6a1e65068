"""The lab on training with a 4-bit base, on the tiny model: bytes by hand, gradients against ordinary layers."""

import pytest

from labs.catalog.qlora_train import QloraTrainParameters
from tests.worker.running import finished_points, run
from worker.experiments import qlora_train
from worker.protocol import FinishedPoint, PointEvent

METHODS = ["qlora-bfloat16", "qlora", "lora-bfloat16", "lora-float32"]
PARAMS = QloraTrainParameters(model="tiny", methods=METHODS, steps=3, learning_rate=1e-2, repeats=3)
LINEAR = 2 * (32 * 32 + 32 * 16 + 32 * 16 + 32 * 32 + 3 * 32 * 64)
REST = 258 * 32 + 5 * 32  # embedding and norms
ADAPTER = 8 * 2 * ((32 + 32) + (32 + 16) + (32 + 16) + (32 + 32) + (32 + 64) + (32 + 64) + (64 + 32))


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(qlora_train, "qlora-train", PARAMS, tmp_path_factory.mktemp("qlora"))


@pytest.fixture(scope="module")
def points(events):
    return {key: values for (key, _), values in finished_points(events).items()}


def size(points, kind, method):
    return 1e6 * points[f"kind={kind},method={method}"]["bytes"]


def test_the_base_shrinks_and_the_adapter_does_not(points):
    buffers = size(points, "base", "lora-float32") - 4 * (LINEAR + REST)
    assert 0 <= buffers <= 64  # frequencies of the rotary embedding
    assert size(points, "base", "lora-bfloat16") == pytest.approx(2 * (LINEAR + REST) + buffers)
    constants = size(points, "base", "qlora") - LINEAR // 2 - 4 * REST - buffers
    # An 8-bit constant for 32 or 64 weights, and for each of 14 matrices the tables, an offset and a constant.
    few = (LINEAR - 2 * 32 * 64) // 32 + 2 * 32 * 64 // 64
    assert constants == pytest.approx(few + 14 * (4 * 16 + 4 * 256 + 4 + 4))
    # Weight, gradient and two moments in float32, and a step count of four bytes for each matrix.
    for method in METHODS:
        assert size(points, "adapter", method) == pytest.approx(4 * 4 * ADAPTER + 4 * 28)
    assert size(points, "copy", "qlora") == 4 * 32 * 64
    assert size(points, "copy", "qlora-bfloat16") == 2 * 32 * 64


def test_memory_is_summed_and_compared(points):
    whole = {m: points[f"method={m},part=memory"] for m in ("lora-float32", "qlora")}
    kinds = ("base", "adapter", "activations", "copy")
    together = sum(points[f"kind={kind},method=qlora"]["bytes"] for kind in kinds)
    assert whole["qlora"]["training_bytes"] == pytest.approx(together)
    expected = whole["qlora"]["training_bytes"] / whole["lora-float32"]["training_bytes"]
    assert whole["qlora"]["memory_share"] == pytest.approx(expected)


def test_a_four_bit_layer_keeps_no_more_than_an_ordinary_one(points):
    assert size(points, "activations", "qlora") <= size(points, "activations", "lora-float32")


def test_gradients_pass_codes_as_they_pass_the_weights_they_stand_for(points):
    assert points["method=qlora"]["gradient_error"] < 1e-5
    assert points["method=qlora-bfloat16"]["gradient_error"] < 0.05
    assert "gradient_error" not in points["method=lora-bfloat16"]
    assert 0.5 < points["method=qlora"]["gradient_cosine"] < points["method=lora-bfloat16"]["gradient_cosine"] < 1
    assert all(points[f"method={method}"]["base_gradients"] == 0 for method in METHODS)


def test_every_method_learns_and_is_compared_with_the_reference(points):
    reference = points["method=lora-float32"]
    for method in METHODS:
        values = points[f"method={method}"]
        assert values["diverged"] == 0
        assert values["validation_loss"] < values["base_loss"]
        if method != "lora-float32":
            assert values["validation_loss_above"] == values["validation_loss"] - reference["validation_loss"]
            assert abs(values["validation_loss_above"]) < 0.2
        assert points[f"method={method},part=time"]["step_time"] > 0
    assert points["method=lora-float32,part=time"]["step_time_ratio"] == 1


def test_a_training_that_diverges_is_a_result(tmp_path):
    params = PARAMS.model_copy(update={"methods": ["lora-float32", "qlora"], "learning_rate": 1e9, "steps": 6})
    points = {
        key: values for (key, _), values in finished_points(run(qlora_train, "qlora-train", params, tmp_path)).items()
    }
    assert points["method=qlora"]["diverged"] == 1
    assert "validation_loss" not in points["method=qlora"]


def test_a_resumed_run_computes_what_is_missing(events, points, tmp_path):
    missing = {"method=qlora", "method=qlora,part=time"}
    found = [e for e in events if isinstance(e, PointEvent)]
    kept = [FinishedPoint(key=e.key, seed=e.seed, metrics=e.metrics) for e in found if e.key not in missing]
    again = finished_points(run(qlora_train, "qlora-train", PARAMS, tmp_path, finished=kept))
    assert {key for key, _ in again} == missing
    assert again["method=qlora", 0] == points["method=qlora"]


def test_the_reference_is_needed():
    with pytest.raises(ValueError, match="lora-float32 is needed"):
        QloraTrainParameters(methods=["qlora"])
