"""The lab on LoRA-GA: both starts against an exact decomposition in float64, on the tiny model."""

import pytest
import torch

from labs.catalog.lora_ga import LoraGaParameters
from tests.worker.running import finished_points, run
from worker.data.sets import load
from worker.experiments import lora_ga
from worker.experiments.lora_ga import (
    ADAPTER,
    adapted_layers,
    add_started_adapter,
    has_learned,
    projected_energy,
    put_back,
    speedup,
    steps_to,
    weight_gradients,
)
from worker.models.tiny import tiny_model, tiny_tokenizer
from worker.protocol import PointEvent
from worker.training.config import TrainingConfig, data_order
from worker.training.examples import collate, encode_facts
from worker.training.loop import train
from worker.training.loss import answer_loss
from worker.training.outcomes import Diverged

PARAMS = LoraGaParameters(model="tiny", steps=4, batch_size=2, rank=2, alpha=4, learning_rates=[1e-3, 1e-2])
# The library decomposes at random into four times the rank: with this one it has all values of these small matrices.
EXACT = PARAMS.model_copy(update={"rank": 8, "alpha": 16})
CURVE = [(0, 4.0), (10, 2.0), (20, 1.0)]


@pytest.fixture(scope="module")
def examples():
    return encode_facts(load("facts"), tiny_tokenizer())


@pytest.fixture(scope="module")
def gradients(examples):
    return weight_gradients(tiny_model(), PARAMS, examples, seed=0)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(lora_ga, "lora-ga", PARAMS, tmp_path_factory.mktemp("ga"))


@pytest.fixture(scope="module")
def points(events):
    return {key: values for (key, _), values in finished_points(events).items()}


def reference(gradient: torch.Tensor, start: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A (r, in) and B (out, r) from the exact decomposition; columns of B and rows of A have free signs."""
    left, values, right = torch.linalg.svd(gradient.double(), full_matrices=False)
    scale, r = len(gradient) ** 0.25 / EXACT.gamma**0.5, EXACT.rank
    if start == "paper":
        return right[:r] * scale, left[:, r : 2 * r] * scale
    return right[:r], left[:, r : 2 * r] * values[r : 2 * r] * scale


def test_the_gradient_is_the_mean_over_the_batches(gradients, examples):
    model = tiny_model().double().requires_grad_(True)
    config = TrainingConfig(steps=PARAMS.gradient_batches, batch_size=2, learning_rate=1.0, seed=0)
    batches = [collate([examples.training[i] for i in indices]) for indices in data_order(192, config)]
    (sum(answer_loss(model, batch) for batch in batches) / len(batches)).backward()
    assert len(gradients) == 14
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient.double(), model.get_submodule(name).weight.grad, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("start", ["peft", "paper"])
def test_the_start_is_that_of_the_exact_decomposition(gradients, start):
    model, base = tiny_model(), tiny_model()
    add_started_adapter(model, EXACT, start, gradients, seed=0)
    layers = adapted_layers(model)
    assert len(layers) == 14
    for name, layer in layers.items():
        a, b = reference(gradients[name], start)
        found_a, found_b = layer.lora_A[ADAPTER].weight.double(), layer.lora_B[ADAPTER].weight.double()
        assert_equal_up_to_signs(found_a, a)
        assert_equal_up_to_signs(found_b.T, b.T)
        whole = layer.get_base_layer().weight + layer.get_delta_weight(ADAPTER)
        torch.testing.assert_close(whole, base.get_submodule(name).weight, rtol=1e-4, atol=1e-6)


def assert_equal_up_to_signs(found: torch.Tensor, expected: torch.Tensor) -> None:
    signs = (found * expected).sum(1, keepdim=True).sign()
    assert (found - signs * expected).norm() < 1e-3 * expected.norm()


def test_the_top_singular_vectors_hold_what_their_values_say(gradients):
    for gradient in gradients.values():
        _, values, right = torch.linalg.svd(gradient.double())
        expected = (values[:2] ** 2).sum().item()
        assert projected_energy(gradient.double(), 3 * right[:2]) == pytest.approx(expected)


def test_every_start_is_the_base(points):
    for start in ("kaiming", "peft", "paper"):
        assert points[f"start={start}"]["initial_logit_difference"] < 1e-4
    assert points["start=kaiming"]["offset_share"] == 0
    assert points["start=paper"]["offset_share"] > points["start=peft"]["offset_share"] > 0
    share = {start: points[f"start={start}"]["gradient_share"] for start in ("kaiming", "peft", "paper")}
    assert share["peft"] == pytest.approx(share["paper"], rel=0.02)
    assert share["peft"] > share["kaiming"] > 0


def test_each_start_is_judged_at_its_best_rate(points):
    for start in ("kaiming", "peft", "paper"):
        losses = {rate: points[f"rate={rate},start={start}"]["validation_loss"] for rate in PARAMS.learning_rates}
        best = points[f"start={start}"]["best_rate"]
        assert losses[best] == min(losses.values()) == points[f"start={start},step=4"]["best_moment_loss"]
    default, own = (points[f"start={start},step=4"]["best_moment_loss"] for start in ("kaiming", "peft"))
    assert points["start=peft"]["gain"] == pytest.approx(default - own)
    assert "gain" not in points["start=kaiming"]


def test_a_restart_goes_on_with_the_next_rate_from_the_same_start(events, points, tmp_path):
    finished = [e for e in events if isinstance(e, PointEvent) and "start=paper" not in e.key]
    again = run(lora_ga, "lora-ga", PARAMS, tmp_path, finished=finished)
    repeated = {key: values for (key, _), values in finished_points(again).items()}
    assert set(repeated) == {key for key in points if "start=paper" in key}
    for key, values in repeated.items():
        assert values == pytest.approx(points[key])


def test_a_rate_that_diverges_is_told_and_left_out(tmp_path, monkeypatch):
    def limited(model, examples, config, *args, **kwargs):
        if config.learning_rate > 0.05:
            raise Diverged("loss too high", step=3)
        return train(model, examples, config, *args, **kwargs)

    monkeypatch.setattr(lora_ga, "train", limited)
    wild = PARAMS.model_copy(update={"starts": ["kaiming"], "learning_rates": [1e-3, 0.1]})
    points = {key: values for (key, _), values in finished_points(run(lora_ga, "lora-ga", wild, tmp_path)).items()}
    assert points["rate=0.1,start=kaiming"] == {"diverged": 1}
    assert points["start=kaiming"]["best_rate"] == 1e-3
    with pytest.raises(Diverged):
        run(lora_ga, "lora-ga", wild.model_copy(update={"learning_rates": [0.1]}), tmp_path)


def test_the_adapter_goes_back_to_its_start(gradients):
    adapted = add_started_adapter(tiny_model(), PARAMS, "kaiming", gradients, seed=0)
    initial = {name: p.detach().clone() for name, p in adapted.named_parameters() if p.requires_grad}
    for name in initial:
        parameter = adapted.get_parameter(name)
        parameter.data += 1
        parameter.grad = torch.ones_like(parameter)
    put_back(adapted, initial)
    assert all(torch.equal(adapted.get_parameter(name), value) for name, value in initial.items())
    assert all(p.grad is None for p in adapted.parameters())


def test_the_speedup_compares_steps_to_the_loss_that_both_reach():
    assert steps_to(CURVE, 3.0) == 5
    assert steps_to(CURVE, 1.5) == 15
    faster = [(0, 4.0), (10, 1.0), (20, 0.5)]
    assert speedup(CURVE, faster) == 2  # 1.0 after 20 and after 10 steps
    assert speedup(faster, CURVE) == 0.5
    with pytest.raises(ValueError, match="never comes down"):
        steps_to(CURVE, 0.9)
    assert has_learned(CURVE)
    assert not has_learned([(0, 1.0), (10, 1.0), (20, 2.0)])
