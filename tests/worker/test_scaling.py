"""The scaling lab: factors and norms against algebra, and the same training wherever two rules agree."""

import pytest
import torch

from labs.catalog.scaling import ScalingParameters, configurations, factor
from tests.worker.running import finished_points, run
from worker.adapters import Adapter, add_adapter
from worker.experiments import scaling
from worker.experiments.scaling import make_adapter, update_norm
from worker.models.tiny import tiny_model
from worker.protocol import FinishedPoint, PointEvent
from worker.training.packed import initial_weights

RULES = ["alpha-over-r", "alpha-over-root-r", "constant"]
# A rate that surely diverges is beyond what a learner may ask for.
PARAMS = ScalingParameters(model="tiny", ranks=[1, 2, 8], reference_rank=2, alpha=4, steps=3, batch_size=4).model_copy(
    update={"learning_rates": [1e-3, 1e30]}
)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(scaling, "scaling", PARAMS, tmp_path_factory.mktemp("scaling"))


@pytest.fixture(scope="module")
def points(events):
    return {key: values for (key, _), values in finished_points(events).items()}


@pytest.mark.parametrize(("rule", "factors"), zip(RULES, [(4, 2, 0.5), (8**0.5, 2, 1), (2, 2, 2)], strict=True))
def test_the_factors_are_those_of_the_rules(rule, factors):
    assert [factor(PARAMS, rank, rule) for rank in (1, 2, 8)] == pytest.approx(factors)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rank", [1, 2, 8])
def test_peft_scales_by_the_factor(rank, rule):
    model = add_adapter(tiny_model(), make_adapter(PARAMS, rank, rule, seed=0))
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    assert layer.scaling["default"] == pytest.approx(factor(PARAMS, rank, rule))


def test_the_norm_is_that_of_the_product():
    """Against the sum of PEFT's own dense updates."""
    adapter = Adapter(3, 6, "all-linear", seed=0)
    model = tiny_model()
    weights = initial_weights(model, adapter)
    adapted = add_adapter(model, adapter)
    dense = 0.0
    for i, (name, (a, b)) in enumerate(weights.items()):
        torch.manual_seed(i)
        b.normal_()
        layer = adapted.get_base_model().get_submodule(name)
        layer.lora_B["default"].weight.data.copy_(b)
        assert torch.equal(layer.lora_A["default"].weight, a)
        dense += layer.get_delta_weight("default").detach().double().square().sum().item()
    assert update_norm(weights, adapter.scale) == pytest.approx(dense**0.5, rel=1e-6)


def test_the_first_gradient_follows_the_factor(points):
    """∇B = s·G·Aᵀ, with the same G and A under all rules, because B is zero."""
    for rank in (1, 2, 8):
        found = {rule: points[f"rank={rank},rule={rule}"] for rule in RULES}
        per_factor = [values["first_gradient_norm"] / values["factor"] for values in found.values()]
        assert per_factor == pytest.approx([per_factor[0]] * 3, rel=1e-4)


def test_rules_that_agree_are_trained_once(points):
    assert len(configurations(PARAMS)) == 7
    same = [points[f"rank=2,rate=0.001,rule={rule}"] for rule in RULES]
    assert same[0] == same[1] == same[2]


def test_what_diverges_is_told_and_has_no_loss(points):
    wild = points["rank=8,rate=1e+30,rule=constant"]
    assert wild == {"diverged": 1}
    assert points["rank=8,rule=constant"]["best_rate"] == 0.001
    assert points["rate=1e+30,rule=constant"] == {}


def test_growth_is_the_quotient_of_the_outer_ranks(points):
    for rule in RULES:
        first, last = (points[f"rank={rank},rate=0.001,rule={rule}"] for rank in (1, 8))
        assert points[f"rule={rule}"]["update_growth"] == last["update_norm"] / first["update_norm"]
        assert points[f"rule={rule}"]["best_rate_shift"] == 1


def test_a_killed_run_goes_on(events, points, tmp_path):
    half = [e for e in events if isinstance(e, PointEvent)][:10]
    earlier = [FinishedPoint(key=e.key, seed=e.seed, metrics=e.metrics) for e in half]
    again = finished_points(run(scaling, "scaling", PARAMS, tmp_path, finished=earlier))
    assert not {(e.key, e.seed) for e in half} & set(again)
    for (key, _), values in again.items():
        assert values == pytest.approx(points[key], rel=1e-3)
