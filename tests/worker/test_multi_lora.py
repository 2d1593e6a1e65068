"""The lab on combined adapters, on the tiny model: what each combination must be follows from algebra."""

import math

import pytest
import torch

from labs.catalog import get_lab
from labs.catalog.multi_lora import MultiLoraParameters
from tests.worker.running import finished_points, run
from worker.adapters import Adapter, add_adapter
from worker.context import RunContext
from worker.experiments import multi_lora
from worker.experiments.multi_lora import COMBINED, answer, combine, distance_to_sum, lora_layers, make_tasks
from worker.models.tiny import tiny_model
from worker.protocol import Job
from worker.training.examples import Example
from worker.training.loss import evaluate

PARAMS = MultiLoraParameters(
    model="tiny", rank=2, steps=2, learning_rate=1e-2, pairs=["facts", "shared-start", "conflict", "docs"]
)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(multi_lora, "multi-lora", PARAMS, tmp_path_factory.mktemp("multi"))


@pytest.fixture(scope="module")
def points(events):
    return {key: values for (key, _), values in finished_points(events).items()}


@pytest.fixture
def pair():
    """Two adapters with random factors in the tiny model."""
    adapted = add_adapter(tiny_model(torch.float64), Adapter(2, 4, "q_proj,v_proj", seed=0))
    adapted.add_adapter("first", adapted.peft_config["default"])
    adapted.add_adapter("second", adapted.peft_config["default"])
    generator = torch.Generator().manual_seed(1)
    for layer in lora_layers(adapted):
        for factors in (layer.lora_A, layer.lora_B):
            for name in ("first", "second"):
                weight = factors[name].weight
                weight.data = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    return adapted


def products(layer) -> list[list[torch.Tensor]]:
    """B_i A_j, unscaled."""
    names = ("first", "second")
    return [[layer.lora_B[i].weight @ layer.lora_A[j].weight for j in names] for i in names]


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_cat_is_the_sum(pair, weight):
    combine(pair, "cat", weight, density=0.5)
    for layer in lora_layers(pair):
        p = products(layer)
        torch.testing.assert_close(layer.get_delta_weight(COMBINED), 2 * weight * (p[0][0] + p[1][1]))
    error, cosine = distance_to_sum(pair, weight)
    assert error < 1e-7  # PEFT makes new adapters in float32
    assert cosine == pytest.approx(1)


@pytest.mark.parametrize(("method", "power"), [("linear", 1), ("factors", 2)])
def test_adding_factors_leaves_cross_terms(pair, method, power):
    """linear puts the root of the weight on each factor, averaging the whole weight."""
    combine(pair, method, 0.5, density=0.5)
    error = total = 0.0
    for layer in lora_layers(pair):
        p = products(layer)
        every = p[0][0] + p[0][1] + p[1][0] + p[1][1]
        torch.testing.assert_close(layer.get_delta_weight(COMBINED), 2 * 0.5**power * every, rtol=1e-5, atol=1e-5)
        wanted = p[0][0] + p[1][1]
        error += (0.5**power * every - 0.5 * wanted).square().sum().item()
        total += (0.5 * wanted).square().sum().item()
    assert distance_to_sum(pair, 0.5)[0] == pytest.approx(math.sqrt(error / total), rel=1e-5)


def test_svd_is_the_best_of_its_rank(pair):
    combine(pair, "svd", 1.0, density=0.5)
    left = total = 0.0
    for layer in lora_layers(pair):
        values = torch.linalg.svdvals(layer.get_delta_weight("first") + layer.get_delta_weight("second"))
        left += values[2:].square().sum().item()
        total += values.square().sum().item()
    assert distance_to_sum(pair, 1.0)[0] == pytest.approx(math.sqrt(left / total), rel=1e-4)


def test_contradicting_adapters_learn_other_answers_to_the_same_questions(tmp_path):
    job = Job(lab="multi-lora", params={}, seeds=[0], scratch=str(tmp_path), models_dir=str(tmp_path))
    tasks = make_tasks(PARAMS, RunContext(job, get_lab("multi-lora"), lambda _: None, "cpu"))
    for first, other in zip(tasks["first-half"].training, tasks["other-answers"].training, strict=True):
        assert first.tokens[: first.answer_start] == other.tokens[: other.answer_start]
        assert first.tokens[first.answer_start :] != other.tokens[other.answer_start :]


def test_answers_count_whole_answers():
    """The loss is that of `evaluate`; an answer is right if each of its tokens is the most likely one."""
    model = tiny_model()
    rows = [Example((5, 6, 7, 8), 2), Example((9, 10, 11), 1), Example((3, 4, 5), 2)]
    with torch.inference_mode():
        likely = [model(torch.tensor([row.tokens])).logits[0].argmax(-1).tolist() for row in rows]
    rows.append(Example((3, 4, likely[2][1]), 2))
    found = answer(model, rows)
    assert found.loss == pytest.approx(evaluate(model, rows).loss)
    expected = [
        list(row.tokens[row.answer_start :]) == seen[row.answer_start - 1 : -1]
        for row, seen in zip(rows, likely, strict=False)
    ]
    assert found.right == (sum(expected) + 1) / 4


def test_the_exact_ways_are_exact_and_the_others_are_not(points):
    for name in PARAMS.pairs:
        assert points[f"method=cat,pair={name},weight=1.0"]["update_error"] < 1e-6
        assert points[f"method=linear,pair={name},weight=1.0"]["update_error"] > 0.1
        assert points[f"pair={name}"]["diverged"] == 0


def test_a_shared_start_makes_averaging_better(points):
    apart = points["method=factors,pair=facts,weight=0.5"]["update_error"]
    shared = points["method=factors,pair=shared-start,weight=0.5"]["update_error"]
    assert apart == pytest.approx(math.sqrt(0.5), abs=0.15)
    assert shared < apart / 2


def test_the_first_adapter_is_the_same_in_all_pairs_and_the_base_as_before(points):
    firsts = [points[f"pair={name}"] for name in PARAMS.pairs]
    assert len({(p["alone_first"], p["base_first"]) for p in firsts}) == 1


def test_it_resumes(events, points, tmp_path):
    finished = [event for event in events if getattr(event, "key", None) in points and hasattr(event, "metrics")]
    assert finished_points(run(multi_lora, "multi-lora", PARAMS, tmp_path, finished=finished)) == {}
    missing = "method=svd,pair=facts,weight=0.5"
    again = run(multi_lora, "multi-lora", PARAMS, tmp_path, finished=[e for e in finished if e.key != missing])
    assert finished_points(again) == {(missing, 0): pytest.approx(points[missing], rel=1e-4)}


def test_divergence_is_an_outcome(tmp_path):
    params = PARAMS.model_copy(update={"pairs": ["facts"], "steps": 8, "learning_rate": 1e6})
    (values,) = finished_points(run(multi_lora, "multi-lora", params, tmp_path)).values()
    assert values == {"diverged": 1}
