"""Data and training-signal formulas against hand arithmetic and torch."""

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labs.formulas import data as formulas

GAPS = st.floats(min_value=-10, max_value=10)


def test_the_last_small_batch_is_a_step():
    assert formulas.epoch_steps(52_000, 4, 8, 2) == 813  # 812.5
    assert formulas.epoch_steps(64, 4, 8, 2) == 1


def test_mixed_in_samples_are_the_asked_share_of_the_whole():
    assert formulas.mixed_in_samples(9500, 5) == pytest.approx(500)
    added = formulas.mixed_in_samples(1000, 40)
    assert added / (1000 + added) == pytest.approx(0.4)


def test_source_passes():
    # 10 % of 20 billion tokens out of half a billion
    assert formulas.source_passes(20e9, 10, 0.5e9) == pytest.approx(4)


def test_padding_and_loss_shares():
    assert formulas.padding_percent(300, 1200) == 75
    assert formulas.response_share_percent(300, 100) == 25


def test_ifd_is_a_ratio_of_losses_not_of_probabilities():
    assert formulas.ifd_score(1.5, 2.0) == 0.75
    assert formulas.perplexity_ratio(1.5, 2.0) == pytest.approx(math.exp(1.5) / math.exp(2.0))


@pytest.mark.parametrize("similarity", [0.3, 0.6, 0.8])
def test_lsh_candidates_agree_with_simulation(similarity):
    generator = random.Random(0)
    trials, bands, rows = 4000, 10, 4
    hits = sum(
        any(all(generator.random() < similarity for _ in range(rows)) for _ in range(bands)) for _ in range(trials)
    )
    assert formulas.lsh_candidate_percent(similarity, bands, rows) == pytest.approx(100 * hits / trials, abs=2.5)


@given(GAPS, GAPS)
def test_dpo_loss_agrees_with_torch(chosen, rejected):
    margin = torch.tensor(0.1 * (chosen - rejected), dtype=torch.float64, requires_grad=True)
    loss = -torch.nn.functional.logsigmoid(margin)
    loss.backward()
    assert formulas.dpo_loss(0.1, chosen, rejected) == pytest.approx(loss.item())
    # the weight is how fast the loss falls with the margin
    assert formulas.dpo_gradient_weight(0.1, chosen, rejected) == pytest.approx(-margin.grad.item())


def test_dpo_starts_at_log_two():
    assert formulas.dpo_loss(0.1, 0, 0) == pytest.approx(math.log(2))


@pytest.mark.parametrize(("correct", "group"), [(1, 8), (4, 8), (7, 8)])
def test_group_advantage_is_a_standardised_reward(correct, group):
    rewards = torch.tensor([1.0] * correct + [0.0] * (group - correct), dtype=torch.float64)
    advantage = (rewards - rewards.mean()) / rewards.std(correction=0)
    assert formulas.group_advantage(correct, group) == pytest.approx(advantage[0].item())


@given(GAPS, GAPS, st.floats(min_value=0.5, max_value=8))
def test_tempered_kl_agrees_with_torch(teacher, student, temperature):
    def log_probabilities(gap):
        return torch.log_softmax(torch.tensor([gap, 0.0], dtype=torch.float64) / temperature, dim=0)

    expected = torch.nn.functional.kl_div(
        log_probabilities(student), log_probabilities(teacher), reduction="sum", log_target=True
    )
    assert formulas.tempered_kl(teacher, student, temperature) == pytest.approx(expected.item(), abs=1e-9)


def test_a_high_temperature_softens():
    assert formulas.tempered_probability(4, 1) == pytest.approx(0.982014, abs=1e-6)
    assert formulas.tempered_probability(4, 4) == pytest.approx(0.731059, abs=1e-6)
    assert formulas.reverse_kl(4, 1) == formulas.tempered_kl(1, 4)


def test_a_list_is_counted():
    assert formulas.listed("1, 1*, 2, 3") == 4
    assert formulas.listed("") == 0
