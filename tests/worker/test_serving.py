"""The serving lab, on the tiny model: counts against formulas, bottleneck adapters against a reference in float64."""

import math

import pytest
import torch

from labs.catalog.serving import ServingParameters
from labs.formulas.variants import bottleneck_module_parameters
from tests.worker.running import finished_points, run
from worker.bottleneck import add_bottlenecks, bottlenecks, remove_bottlenecks
from worker.experiments import serving
from worker.experiments.serving import build, mixed, relative_difference, separate, shared_copy
from worker.models.tiny import tiny_model

PARAMS = ServingParameters(model="tiny", shapes=["1x16", "4x64"], adapters=3, rank=2, bottleneck=5, prefix=3, repeats=1)
TOKENS = torch.randint(0, 256, (4, 7), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(serving, "serving", PARAMS, tmp_path_factory.mktemp("serving"))


@pytest.fixture(scope="module")
def points(events):
    return {key: values for (key, _), values in finished_points(events).items()}


def reference_hook(down, up):
    """x + W_up gelu(W_down x + b) + b, spelled out, on the output of a layer that knows nothing of adapters."""

    def add(module, args, x):
        inner = x @ down.weight.T + down.bias
        gelu = 0.5 * inner * (1 + torch.erf(inner / math.sqrt(2)))
        return x + gelu @ up.weight.T + up.bias

    return add


def test_bottleneck_adapters_equal_the_reference():
    model, plain = tiny_model(torch.float64).eval(), tiny_model(torch.float64).eval()
    added = add_bottlenecks(model, 5, seed=0)
    for adapter in added:
        torch.nn.init.normal_(adapter.up.weight, std=0.5)
        torch.nn.init.normal_(adapter.up.bias, std=0.5)
    adapters = iter(added)
    for layer in plain.model.layers:
        for module in (layer.self_attn.o_proj, layer.mlp.down_proj):
            adapter = next(adapters)
            module.register_forward_hook(reference_hook(adapter.down, adapter.up))
    torch.testing.assert_close(model(TOKENS).logits, plain(TOKENS).logits, rtol=1e-10, atol=1e-10)
    assert relative_difference(model(TOKENS).logits, tiny_model(torch.float64)(TOKENS).logits) > 0.01


def test_fresh_bottleneck_adapters_change_nothing_and_can_be_removed():
    model = tiny_model().eval()
    before, names = model(TOKENS).logits, list(model.state_dict())
    with bottlenecks(model, 5, seed=0):
        assert torch.equal(model(TOKENS).logits, before)
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 4 * bottleneck_module_parameters(32, 5)
    assert list(model.state_dict()) == names
    add_bottlenecks(model, 5, seed=0)
    remove_bottlenecks(model)
    assert torch.equal(model(TOKENS).logits, before)


def test_a_shared_copy_has_the_same_tensors():
    model = tiny_model()
    other = shared_copy(model)
    assert other is not model
    assert all(p is q for p, q in zip(model.parameters(), other.parameters(), strict=True))


@torch.no_grad()
def test_a_mixed_batch_gives_each_row_its_adapter():
    served = build(tiny_model().eval(), PARAMS, seed=0)
    found = mixed(served, TOKENS)
    torch.testing.assert_close(found, separate(served, TOKENS), rtol=1e-4, atol=1e-4)
    for row, name in enumerate(["default", "adapter-1", "adapter-2", "default"]):
        served.adapted.set_adapter(name)
        alone = served.adapted(input_ids=TOKENS[row : row + 1]).logits[0]
        torch.testing.assert_close(found[row], alone, rtol=1e-4, atol=1e-4)
    assert relative_difference(found[1:2], served.base(TOKENS[1:2]).logits) > 1e-3


@torch.no_grad()
def test_merged_and_adapter_are_one_model_and_the_base_is_as_before():
    served = build(tiny_model().eval(), PARAMS, seed=0)
    assert relative_difference(served.merged(TOKENS).logits, served.adapted(input_ids=TOKENS).logits) < 1e-5
    assert torch.equal(served.base(TOKENS).logits, tiny_model().eval()(TOKENS).logits)


def test_parameters_beside_the_base(points):
    linear = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 64), (32, 64), (64, 32)]
    assert points["variant=adapter"]["extra_parameters"] == 2 * sum(2 * (i + o) for i, o in linear)
    assert points["variant=bottleneck"]["extra_parameters"] == 2 * 2 * bottleneck_module_parameters(32, 5)
    assert points["variant=prefix"]["extra_parameters"] == 2 * 2 * 3 * 16  # keys and values, layers, tokens, width


def test_every_variant_is_timed(points):
    assert {key for key in points if "shape=1x16" in key} == {
        f"shape=1x16,variant={v}" for v in ("base", "merged", "adapter", "bottleneck", "prefix")
    }
    assert points["shape=4x64,variant=base"]["latency_ratio"] == 1
    assert points["shape=4x64,variant=mixed"]["mixed_difference"] < 1e-5
    assert set(points[""]) == {"switch_time", "load_time", "merge_time", "unmerge_time"}
    assert all(value > 0 for value in points[""].values())


def test_it_resumes(events, points, tmp_path):
    done = [event for event in events if getattr(event, "key", None) in points and hasattr(event, "metrics")]
    assert finished_points(run(serving, "serving", PARAMS, tmp_path, finished=done)) == {}
    missing = [event for event in done if "shape=4x64" not in event.key]
    again = finished_points(run(serving, "serving", PARAMS, tmp_path, finished=missing))
    assert {key for key, _ in again} == {key for key in points if "shape=4x64" in key}
