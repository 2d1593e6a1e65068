"""The lab on IR-QLoRA: shifts against a search by hand, connections against their matrices, all in float64."""

import math
from collections import Counter

import pytest
import torch
from torch import nn

from labs.catalog.ir_qlora import IrQloraParameters
from tests.worker.running import finished_points, run
from worker.adapters import Adapter, adapter_weights, add_adapter, save_adapter
from worker.calibration import SIGMA, code_entropy, quantise_shifted, search_shifts
from worker.elastic import ElasticDown, ElasticUp, connect, fold, strengths
from worker.experiments import ir_qlora
from worker.models.tiny import tiny_model
from worker.protocol import FinishedPoint, PointEvent
from worker.quantisation import levels, quantise

LEVELS = levels("nf4").tolist()
PARAMS = IrQloraParameters(
    model="tiny", encoder="tiny", reaches=[0.1, 0.0], candidates=5, passages=2, steps=3, learning_rate=1e-2
)
BLOCKS = torch.randn(6, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.2


# --- ICQ --------------------------------------------------------------------------------------------------------------


def judged(block: list[float], shift: float) -> tuple[float, float]:
    """Entropy and squared error of one block, weight by weight."""
    scale = max(abs(w - shift) for w in block)
    codes = [min(range(16), key=lambda code: abs((w - shift) / scale - LEVELS[code])) for w in block]
    shares = [count / len(block) for count in Counter(codes).values()]
    error = sum((w - shift - scale * LEVELS[code]) ** 2 for w, code in zip(block, codes, strict=True))
    return -sum(share * math.log2(share) for share in shares), error


def candidates_of(block: list[float], reach: float, count: int) -> list[float]:
    median = sorted(block)[(len(block) - 1) // 2]
    spread = max(abs(w - median) for w in block)
    return [median + reach * SIGMA * spread * (2 * i / (count - 1) - 1) for i in range(count)]


@pytest.mark.parametrize("reach", [0.1, 0.8])
def test_the_search_finds_the_best_candidates(reach):
    found = search_shifts(BLOCKS, 16, reach=reach, candidates=21)
    for block, by_entropy, by_error in zip(BLOCKS.tolist(), found.entropy.tolist(), found.error.tolist(), strict=True):
        all_judged = [judged(block, shift) for shift in candidates_of(block, reach, 21)]
        assert judged(block, by_entropy)[0] == pytest.approx(max(entropy for entropy, _ in all_judged), abs=1e-9)
        assert judged(block, by_error)[1] == pytest.approx(min(error for _, error in all_judged), rel=1e-9)
        assert min(abs(by_entropy - shift) for shift in candidates_of(block, reach, 21)) < 1e-6


def test_without_reach_the_median_is_the_shift():
    found = search_shifts(BLOCKS, 16, reach=0, candidates=21)
    assert found.entropy.tolist() == BLOCKS.median(dim=1).values.tolist() == found.error.tolist()


def test_a_shifted_weight_comes_back_near_and_its_entropy_is_counted():
    weight = torch.randn(32, 512, generator=torch.Generator().manual_seed(4)) + 0.5
    shift = search_shifts(weight, 64, reach=0.1, candidates=5).entropy
    result = quantise_shifted(weight, shift, 64)
    by_hand = [judged(block, s) for block, s in zip(weight.reshape(-1, 64).tolist(), shift.tolist(), strict=True)]
    assert code_entropy(result, 64).tolist() == pytest.approx([entropy for entropy, _ in by_hand], abs=1e-4)
    squared_error = (result.weight - weight).square().sum().item()
    # Scales and shifts are in eight bits, which adds little.
    assert squared_error == pytest.approx(sum(error for _, error in by_hand), rel=0.05)
    assert squared_error < (quantise(weight, "nf4", 64, double=True).weight - weight).square().sum().item()


def test_a_block_without_spread_is_no_trouble():
    flat = torch.full((2, 16), 0.25)
    found = search_shifts(flat, 16, reach=0.1, candidates=5)
    assert found.entropy.tolist() == [0.25, 0.25]
    assert torch.equal(quantise_shifted(flat, found.entropy, 16).weight, flat)


# --- IEC --------------------------------------------------------------------------------------------------------------


def test_connections_are_means_and_repetitions_beside_the_factors():
    torch.manual_seed(0)
    down, up = ElasticDown(nn.Linear(6, 2, bias=False).double()), ElasticUp(nn.Linear(2, 4, bias=False).double())
    x = torch.randn(5, 6, dtype=torch.float64)
    assert torch.equal(up(down(x)), x @ down.weight.T @ up.weight.T)  # strengths start at zero
    down.strength.data.fill_(0.7)
    up.strength.data.fill_(-0.3)
    average = torch.tensor([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], dtype=torch.float64) / 3
    repetition = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=torch.float64)
    a, b = down.weight + 0.7 * average, up.weight - 0.3 * repetition
    loss = up(down(x)).square().sum()
    torch.testing.assert_close(loss, (x @ a.T @ b.T).square().sum())
    loss.backward()
    # By hand: with y = x AᵀBᵀ and dL/dy = 2y, the derivatives along the two fixed matrices.
    y = (x @ a.T @ b.T).detach()
    expected_up = (2 * y * (x @ a.T @ repetition.T)).sum()
    expected_down = (2 * y * (x @ average.T @ b.T)).sum()
    torch.testing.assert_close(up.strength.grad, expected_up.detach().reshape(1))
    torch.testing.assert_close(down.strength.grad, expected_down.detach().reshape(1))


def test_a_rank_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of the rank"):
        ElasticDown(nn.Linear(6, 4, bias=False))


def test_a_folded_adapter_is_an_ordinary_one_with_the_same_outputs(tmp_path):
    from peft import PeftModel

    adapted = connect(add_adapter(tiny_model(torch.float64), Adapter(4, 8, "all-linear", seed=0)))
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name or "strength" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    assert min(strengths(adapted)) > 0.01
    tokens = torch.arange(12).reshape(2, 6)
    with torch.no_grad():
        expected = adapted(tokens).logits
        torch.testing.assert_close(fold(adapted)(tokens).logits, expected)
        save_adapter(adapted, tmp_path)
        loaded = PeftModel.from_pretrained(tiny_model(torch.float64), str(tmp_path), autocast_adapter_dtype=False)
        torch.testing.assert_close(loaded(tokens).logits, expected)
    assert all(a.shape[0] == 4 for a, _ in adapter_weights(adapted).values())


# --- the lab ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(ir_qlora, "ir-qlora", PARAMS, tmp_path_factory.mktemp("ir"))


@pytest.fixture(scope="module")
def points(events):
    return {key: values for (key, _), values in finished_points(events).items()}


def test_the_aims_do_what_they_aim_at(points):
    entropy, error = (points[f"aim={aim},part=encoder,reach=0.1"] for aim in ("entropy", "error"))
    plain, median = points["aim=none,part=encoder"], points["aim=entropy,part=encoder,reach=0.0"]
    assert entropy["entropy_gain"] == pytest.approx(entropy["entropy"] - plain["entropy"], abs=1e-6)
    assert entropy["entropy"] >= max(median["entropy"], error["entropy"])
    assert error["relative_error"] <= min(median["relative_error"], entropy["relative_error"])
    expected = 100 * (entropy["relative_error"] / plain["relative_error"] - 1)
    assert entropy["error_change"] == pytest.approx(expected)
    assert "entropy_gain" not in plain
    assert plain["embedding_distance"] > 0


def test_a_shift_costs_its_eight_bits(points):
    # All rows of the tiny model are of 32 but those of the down projection; one more constant in eight bits a block,
    # and a constant in 32 bits for each of 14 matrices.
    weights = 2 * (32 * 32 + 32 * 16 + 32 * 16 + 32 * 32 + 3 * 32 * 64)
    blocks = (weights - 2 * 32 * 64) // 32 + 2 * 32 * 64 // 64
    expected = 8 * (blocks + 14 * 4) / weights
    assert points["aim=entropy,part=encoder,reach=0.1"]["extra_bits"] == pytest.approx(expected)


def test_every_method_is_trained_from_its_base_and_compared_with_qlora(points):
    plain, shifted = points["method=qlora"], points["method=icq"]
    assert plain["base_loss"] == points["method=iec"]["base_loss"] != shifted["base_loss"]
    assert shifted["base_loss"] == points["method=ir-qlora"]["base_loss"]
    for method in ("qlora", "iec", "icq", "ir-qlora"):
        values = points[f"method={method}"]
        assert values["diverged"] == 0
        assert values["validation_loss"] < values["base_loss"]
        if method != "qlora":
            assert values["validation_loss_above"] == values["validation_loss"] - plain["validation_loss"]
    assert points["method=iec"]["strength_up"] > 0
    assert "strength_up" not in plain


def test_a_training_that_diverges_is_a_result(tmp_path):
    params = PARAMS.model_copy(update={"learning_rate": 1e9, "steps": 6})
    values = finished_points(run(ir_qlora, "ir-qlora", params, tmp_path))["method=ir-qlora", 0]
    assert values["diverged"] == 1
    assert "validation_loss" not in values


def test_a_resumed_run_computes_what_is_missing(events, points, tmp_path):
    missing = {"method=icq", "aim=error,part=encoder,reach=0.1"}
    found = [e for e in events if isinstance(e, PointEvent)]
    kept = [FinishedPoint(key=e.key, seed=e.seed, metrics=e.metrics) for e in found if e.key not in missing]
    again = finished_points(run(ir_qlora, "ir-qlora", PARAMS, tmp_path, finished=kept))
    assert {key for key, _ in again} == missing
    assert all(again[key, 0] == points[key] for key in missing)
