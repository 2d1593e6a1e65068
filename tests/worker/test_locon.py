"""The lab on convolutions: counts against closed forms, the update against an independent convolution."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)

from labs.catalog.locon import LoconParameters
from labs.formulas.variants import conv_parameters, locon_parameters, locon_reduction
from tests.worker.running import finished_points, run
from worker.digits import DigitsConfig, DigitsNet, as_examples, digit_images, digit_logits, evaluate_digits
from worker.experiments import locon
from worker.experiments.locon import add_locon, new_network, shifted, trainable_kernels
from worker.training.examples import collate

PARAMS = LoconParameters(ranks=[1, 4], steps=3, pretraining_steps=3, learning_rates=[1e-3, 1e-2], examples=40)
LAYERS = ((1, 32), (32, 64), (64, 64))


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(locon, "locon", PARAMS, tmp_path_factory.mktemp("locon"))


@pytest.fixture(scope="module")
def points(events):
    return {key: values for (key, _), values in finished_points(events).items()}


@pytest.mark.parametrize("rank", [1, 2, 8, 16])
def test_it_trains_as_many_weights_as_the_formula_says(rank):
    network = new_network(0, "cpu")
    add_locon(network, rank)
    assert trainable_kernels(network) == sum(locon_parameters(i, o, 3, rank) for i, o in LAYERS)


def test_counts_of_the_run(points):
    full = sum(conv_parameters(i, o, 3) for i, o in LAYERS)
    assert points["trained=full"]["trainable_parameters"] == full
    assert points["trained=head"]["trainable_parameters"] == 0
    assert points["trained=r4"]["trainable_parameters"] == sum(locon_parameters(i, o, 3, 4) for i, o in LAYERS)
    assert points["trained=r4"]["reduction"] == full / points["trained=r4"]["trainable_parameters"]
    assert locon_reduction(1, 32, 3, 8) < 1  # the first layer: more than the kernel itself


def test_the_update_is_one_kernel_of_low_rank():
    """A convolution to r channels and a 1 × 1 one are the convolution with B A as its kernel."""
    network = DigitsNet(DigitsConfig()).double()
    add_locon(network, 2)
    layer = network.conv2
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 32, 3, 3, generator=generator, dtype=torch.float64)
    b = torch.randn(64, 2, 1, 1, generator=generator, dtype=torch.float64)
    layer.lora_A["default"].double().weight.data = a
    layer.lora_B["default"].double().weight.data = b
    kernel = layer.base_layer.weight + 2 * torch.einsum("or,rixy->oixy", b[:, :, 0, 0], a)
    x = torch.randn(5, 32, 8, 8, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(layer(x), F.conv2d(x, kernel, padding=1))


def test_images_come_back_from_tokens():
    images, digits = digit_images()
    batch = collate(as_examples(images[:3], digits[:3]))
    seen = []
    network = DigitsNet(DigitsConfig())
    network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    _, labels = digit_logits(network, batch)
    np.testing.assert_allclose(seen[0][:, 0].numpy(), images[:3] / 16)
    assert labels.tolist() == digits[:3].tolist()


def test_a_network_without_knowledge_guesses():
    images, digits = digit_images()
    network = DigitsNet(DigitsConfig())
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    loss, error = evaluate_digits(network, as_examples(images, digits))
    assert loss == pytest.approx(np.log(10), rel=1e-5)
    assert error == pytest.approx((digits != 0).mean())  # all logits equal: it says 0


def test_shifts_keep_the_range():
    images, _ = digit_images()
    assert (shifted(images, "inverted") == 16 - images).all()
    assert (shifted(images, "rotated")[0] == np.rot90(images[0])).all()


def test_full_is_measured_against_itself(points):
    assert points["trained=full"]["error_over_full"] == 0
    for name in ("head", "r1", "r4"):
        values = points[f"trained={name}"]
        assert values["error_over_full"] == pytest.approx(values["test_error"] - points["trained=full"]["test_error"])


def test_energy_grows_with_the_rank(points):
    assert 0 < points["rank=1"]["full_update_energy"] < points["rank=4"]["full_update_energy"] < 100


def test_it_resumes(events, points, tmp_path):
    done = [event for event in events if getattr(event, "key", None) in points and hasattr(event, "metrics")]
    assert finished_points(run(locon, "locon", PARAMS, tmp_path, finished=done)) == {}
    again = finished_points(run(locon, "locon", PARAMS, tmp_path, finished=done[:1]))
    assert {key: values for (key, _), values in again.items()} == {
        key: pytest.approx(values, rel=1e-4) for key, values in points.items() if key != done[0].key
    }


def test_divergence_is_an_outcome(tmp_path):
    params = PARAMS.model_copy(update={"learning_rates": [1e9], "ranks": [1]})
    (found, *_) = finished_points(run(locon, "locon", params, tmp_path)).values()
    assert found["diverged"] == 1
    assert "test_error" not in found
