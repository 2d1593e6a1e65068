"""The lab on starting values, on the tiny model: which gradients are exactly zero follows from algebra."""

import pytest

from labs.catalog.init_and_gradients import InitAndGradientsParameters
from tests.worker.running import finished_points, run
from worker.experiments import init_and_gradients

STARTS = ["kaiming", "gaussian", "a-zero", "both-zero", "both-random"]
PARAMS = InitAndGradientsParameters(model="tiny", starts=STARTS, steps=3, learning_rate=1e-2)


@pytest.fixture(scope="module")
def starts(tmp_path_factory):
    events = run(init_and_gradients, "init-and-gradients", PARAMS, tmp_path_factory.mktemp("init"))
    return {key.removeprefix("start="): values for (key, _), values in finished_points(events).items()}


@pytest.mark.parametrize("start", ["kaiming", "gaussian"])
def test_with_b_zero_only_b_moves_first(starts, start):
    assert starts[start]["initial_logit_difference"] == 0
    assert starts[start]["first_gradient_a"] == 0
    assert starts[start]["first_gradient_b"] > 0
    assert starts[start]["second_gradient_a"] > 0


def test_with_a_zero_only_a_moves_first(starts):
    assert starts["a-zero"]["initial_logit_difference"] == 0
    assert starts["a-zero"]["first_gradient_a"] > 0
    assert starts["a-zero"]["first_gradient_b"] == 0
    assert starts["a-zero"]["second_gradient_b"] > 0


def test_two_zeros_learn_nothing(starts):
    gradients = [starts["both-zero"][f"{when}_gradient_{matrix}"] for when in ("first", "second") for matrix in "ab"]
    assert gradients == [0, 0, 0, 0]
    assert starts["both-zero"]["validation_loss_drop"] == 0


def test_two_random_factors_start_from_another_model(starts):
    assert starts["both-random"]["initial_logit_difference"] > 0.1
    assert starts["both-random"]["first_gradient_a"] > 0
    assert starts["both-random"]["first_gradient_b"] > 0


def test_every_start_leaves_the_base_as_it_was(starts, tmp_path):
    alone = PARAMS.model_copy(update={"starts": ["both-random"]})
    (values,) = finished_points(run(init_and_gradients, "init-and-gradients", alone, tmp_path)).values()
    assert values == starts["both-random"]
