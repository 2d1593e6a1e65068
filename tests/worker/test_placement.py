"""The placement lab: counts against the closed form, ranks that make them equal, the same adapter trained once."""

import pytest

from labs.catalog.placement import MODULES, PlacementParameters, work
from labs.formulas.lora import lora_parameters
from tests.worker.running import finished_points, run
from worker.adapters import Adapter, add_adapter, trainable_parameters
from worker.experiments import placement
from worker.experiments.placement import choose_rank, parameters_per_rank
from worker.models.recipe import TINY_RECIPE
from worker.models.tiny import tiny_model

PARAMS = PlacementParameters(
    model="tiny",
    placements=["k", "q+v", "q+k+v+o", "mlp", "all"],
    rank=4,
    alpha=8,
    learning_rates=[1e-3, 1e-2],
    steps=2,
    batch_size=4,
)
WIDTH, KEYS, MIDDLE, LAYERS = 32, 16, 64, 2  # of the tiny model: two of four heads have keys and values
SHAPES = {
    "q": 2 * WIDTH,
    "k": WIDTH + KEYS,
    "v": WIDTH + KEYS,
    "o": 2 * WIDTH,
    "gate": WIDTH + MIDDLE,
    "up": WIDTH + MIDDLE,
    "down": WIDTH + MIDDLE,
}


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    events = run(placement, "placement", PARAMS, tmp_path_factory.mktemp("placement"))
    return {key: values for (key, _), values in finished_points(events).items()}


def closed_form(name):
    """(d_in + d_out) · layers of each rank."""
    parts = {"mlp": "gate+up+down", "all": "q+k+v+o+gate+up+down"}.get(name, name).split("+")
    return LAYERS * sum(SHAPES[part] for part in parts)


def test_the_shapes_are_those_of_the_tiny_model():
    heads, of_keys = TINY_RECIPE["num_attention_heads"], TINY_RECIPE["num_key_value_heads"]
    assert (TINY_RECIPE["hidden_size"], TINY_RECIPE["intermediate_size"]) == (WIDTH, MIDDLE)
    assert (WIDTH * of_keys // heads, TINY_RECIPE["num_hidden_layers"]) == (KEYS, LAYERS)


@pytest.mark.parametrize("name", MODULES)
def test_peft_has_as_many_parameters_as_the_closed_form(name):
    assert parameters_per_rank(tiny_model(), name) == closed_form(name)
    adapted = add_adapter(tiny_model(), Adapter(3, 6, MODULES[name], seed=0))
    assert trainable_parameters(adapted) == 3 * closed_form(name)


@pytest.mark.parametrize("name", MODULES)
def test_no_other_rank_comes_closer(name):
    rank = choose_rank(tiny_model(), PARAMS, "parameters", name)
    budget = 4 * closed_form("all")
    assert abs(rank * closed_form(name) - budget) <= closed_form(name) / 2
    assert choose_rank(tiny_model(), PARAMS, "rank", name) == 4


def test_the_formula_of_the_claims_counts_the_same():
    """On SmolLM2 with its own shapes: what the lab reports at rank 8 on all linear layers."""
    assert lora_parameters("smollm2-135m", "all-linear", 8) == 30 * 8 * (
        2 * 2 * 576 + 2 * (576 + 192) + 3 * (576 + 1536)
    )


def test_counts_are_reported_with_their_distance_from_the_budget(points):
    budget = 4 * closed_form("all")
    for name in PARAMS.placements:
        for equal in ("parameters", "rank"):
            values = points[f"equal={equal},placement={name}"]
            assert values["trainable_parameters"] == values["rank"] * closed_form(name)
            assert values["parameter_deviation"] == pytest.approx(100 * (values["trainable_parameters"] / budget - 1))
    assert points["equal=parameters,placement=all"]["parameter_deviation"] == 0


def test_all_linear_layers_are_trained_once(points):
    for rate in (0.001, 0.01):
        one, other = (points[f"equal={equal},placement=all,rate={rate}"] for equal in ("parameters", "rank"))
        assert one == other
    assert work(PARAMS) == (2 * 5 - 1) * 2 * 2 * 4


def test_differences_are_between_the_best_of_each(points):
    for equal in ("parameters", "rank"):
        best = {name: points[f"equal={equal},placement={name}"]["best_loss"] for name in PARAMS.placements}
        assert points[f"equal={equal}"]["mlp_advantage"] == best["q+k+v+o"] - best["mlp"]
        for name in set(PARAMS.placements) - {"all"}:
            found = points[f"against=all,equal={equal},placement={name}"]
            assert found == {"loss_behind_all": best[name] - best["all"]}
    key = "equal=rank,placement=k"
    rates = {rate: points[f"{key},rate={rate}"]["validation_loss"] for rate in (0.001, 0.01)}
    assert points[key]["best_loss"] == min(rates.values())
    assert rates[points[key]["best_rate"]] == min(rates.values())
