"""The lab on AdaLoRA's ranks: budget, scores and penalty against an independent reckoning, on the tiny model."""

import pytest
import torch

from labs.catalog.adalora_ranks import MODULES, AdaloraRanksParameters
from labs.formulas.variants import adalora_budget
from tests.worker.running import finished_points, run
from worker.experiments import adalora_ranks
from worker.experiments.adalora_ranks import ADAPTER, Penalty, adalora_layers, add_adalora, ranks, training_config
from worker.models.tiny import tiny_model
from worker.protocol import PointEvent
from worker.training.examples import collate, encode
from worker.training.loop import train
from worker.training.loss import answer_loss

PARAMS = AdaloraRanksParameters(
    model="tiny", initial_rank=4, target_rank=2, steps=8, initial_steps=2, final_steps=2, batch_size=2
)
MATRICES = 14
SMOOTHING = 0.85


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(adalora_ranks, "adalora-ranks", PARAMS, tmp_path_factory.mktemp("adalora"), seeds=(0, 1))


@pytest.fixture(scope="module")
def points(events):
    return finished_points(events)


@pytest.fixture(scope="module")
def examples():
    from worker.models.tiny import tiny_tokenizer

    return [encode(f"What is {i}?", f"It is {i * i}.", tiny_tokenizer()) for i in range(8)]


def test_the_budget_is_that_of_the_paper_at_every_step(events):
    (point,) = [e for e in events if isinstance(e, PointEvent) and e.key == "" and e.seed == 0]
    logged = [value.value for value in point.metrics if value.name == "budget"]
    expected = [MATRICES * adalora_budget(4, 2, step, 2, 2, total=8) for step in range(1, 9)]
    assert logged == [int(value + 1e-9) for value in expected]


def test_the_final_ranks_add_up_to_the_target(points):
    for seed in (0, 1):
        found = [points[f"layer={layer},module={module}", seed]["rank"] for layer in (0, 1) for module in MODULES]
        assert sum(found) == points["", seed]["total_rank"] == MATRICES * PARAMS.target_rank
        assert all(0 <= rank <= PARAMS.initial_rank for rank in found)


def test_the_differences_are_those_of_the_map(points):
    found = {m: [points[f"layer={layer},module={m}", 0]["rank"] for layer in (0, 1)] for m in MODULES}
    attention = sum(sum(found[m]) for m in MODULES if m[0] in "qkvo") / 8
    mlp = sum(sum(found[m]) for m in MODULES if m[0] in "gud") / 6
    assert points["", 0]["mlp_minus_attention"] == pytest.approx(mlp - attention)
    top_minus_bottom = sum(top - bottom for bottom, top in found.values()) / 7
    assert points["", 0]["top_minus_bottom"] == pytest.approx(top_minus_bottom)
    assert points["module=q_proj", 0]["final_mean_rank"] == sum(found["q_proj"]) / 2


def test_two_seeds_agree_or_not_by_one_number(points):
    values = [points["against=another seed", seed]["agreement"] for seed in (0, 1)]
    assert values[0] == pytest.approx(values[1])
    assert -1 <= values[0] <= 1


def test_every_triplet_can_be_trained(points):
    sizes = 2 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))
    assert points["", 0]["trainable_parameters"] == 4 * (sizes + MATRICES)


def test_the_penalty_is_that_of_peft(examples):
    model = tiny_model()
    adapted = add_adalora(model, PARAMS, seed=0)
    batch = collate(examples[:2])
    objective = Penalty(0.5)
    difference = objective(model, batch) - answer_loss(model, batch)
    plain = model(batch.tokens, labels=batch.tokens).loss
    with_penalty = adapted(batch.tokens, labels=batch.tokens).loss
    assert difference.item() == pytest.approx((with_penalty - plain).item(), rel=1e-5) == objective.value


def test_the_ranks_are_those_of_the_scores(examples):
    """Sensitivity and uncertainty, smoothed and multiplied (section 3.2 of the paper), reckoned here in float64."""
    model = tiny_model()
    adapted = add_adalora(model, PARAMS, seed=0)
    parameters = {n: p for n, p in model.named_parameters() if "lora_" in n}
    smooth = {n: torch.zeros_like(p, dtype=torch.float64) for n, p in parameters.items()}
    unsure = {n: torch.zeros_like(p, dtype=torch.float64) for n, p in parameters.items()}
    kept = []

    def allocate(step, _):
        if step + 1 < PARAMS.steps - PARAMS.final_steps:
            for name, p in parameters.items():
                now = (p.double() * p.grad.double()).abs().detach()
                smooth[name] = SMOOTHING * smooth[name] + (1 - SMOOTHING) * now
                unsure[name] = SMOOTHING * unsure[name] + (1 - SMOOTHING) * (now - smooth[name]).abs()
        if step + 1 == PARAMS.steps - PARAMS.final_steps:
            kept.extend(best({n: smooth[n] * unsure[n] for n in parameters}))
        adapted.base_model.update_and_allocate(step + 1)

    train(model, examples, training_config(PARAMS, 0), objective=Penalty(0.5), after_update=allocate)
    assert ranks(model) == {place: kept.count(place) for place in adalora_layers(model)}


def best(scores) -> list:
    """The place of each triplet in the budget."""
    found = []
    for layer in (0, 1):
        for module in MODULES:
            block = "self_attn" if module[0] in "qkvo" else "mlp"
            a, b, e = (scores[f"model.layers.{layer}.{block}.{module}.lora_{x}.{ADAPTER}"] for x in "ABE")
            triplets = e.flatten() + a.mean(1) + b.mean(0)
            found += [(score, (layer, module)) for score in triplets.tolist()]
    return [place for _, place in sorted(found, reverse=True)[: MATRICES * PARAMS.target_rank]]


@pytest.mark.parametrize("wrong", [{"target_rank": 4}, {"initial_steps": 6}])
def test_a_schedule_without_pruning_is_refused(wrong):
    with pytest.raises(ValueError, match="must be below"):
        AdaloraRanksParameters(**(PARAMS.model_dump() | wrong))
