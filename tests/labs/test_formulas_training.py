"""Training and evaluation formulas against hand arithmetic, PyTorch, and simulated draws."""

import math
import random
from statistics import fmean

import pytest
import torch

from labs.formulas import lora
from labs.formulas import training as formulas


def test_steps_of_a_run():
    assert formulas.effective_batch(2, 8, 2) == 32
    assert formulas.steps_in_epoch(30_000, 32) == 938  # 937.5 and a half batch
    assert formulas.optimizer_steps(30_000, 32, 3) == 2814
    assert formulas.warmup_steps(2814, 3) == 85  # 84.42


def test_warmup_of_a_whole_number_is_not_rounded_up():
    assert formulas.warmup_steps(1000, 7) == 70


@pytest.mark.parametrize("step", [0, 3, 10, 55, 100])
def test_schedules_agree_with_pytorch(step):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2e-4)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-12, total_iters=10)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=90)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], milestones=[10])
    for _ in range(step):
        optimizer.step()
        schedule.step()
    assert formulas.cosine_rate(step, 100, 10, 2e-4) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)


def test_linear_schedule():
    assert formulas.linear_rate(5, 100, 10, 1e-3) == pytest.approx(5e-4)
    assert formulas.linear_rate(55, 100, 10, 1e-3) == pytest.approx(5e-4)
    assert formulas.linear_rate(100, 100, 10, 1e-3) == 0


def test_times_and_share():
    assert formulas.share_of(8, 4096) == 1 / 512
    assert formulas.times(16, 2e-4) == pytest.approx(3.2e-3)


def test_dora_adds_one_magnitude_an_output():
    # Llama-2-7B, q and v: 32 blocks, two layers of 4,096 outputs
    extra = formulas.dora_adapter_parameters("llama-2-7b", "q_proj,v_proj", 16) - lora.lora_parameters(
        "llama-2-7b", "q_proj,v_proj", 16
    )
    assert extra == 32 * 2 * 4096


def test_widths_of_a_block():
    # Llama-3-8B: queries 4,096, keys 1,024, and 4,096 to 14,336 in the MLP
    assert formulas.block_count("llama-3-8b") == 32
    assert formulas.target_inputs("llama-3-8b", "q_proj,k_proj,down_proj") == 4096 + 4096 + 14_336
    assert formulas.target_outputs("llama-3-8b", "q_proj,k_proj,down_proj") == 4096 + 1024 + 4096
    assert formulas.target_count("llama-3-8b", "all-linear") == 7


def test_alpha_that_keeps_the_scale():
    assert formulas.alpha_for_rank(8, 16, 64) == 128
    assert formulas.alpha_for_rank(16, 32, 64, "rslora") == pytest.approx(64)


def test_adalora_adds_its_singular_values():
    # q and v in 32 blocks: r (4096 + 4096 + 1) each
    assert formulas.adalora_adapter_parameters("llama-2-7b", "q_proj,v_proj", 12) == 32 * 2 * 12 * 8193


def test_rank_for_budget_is_the_largest_that_fits():
    rank = formulas.rank_for_budget("llama-2-7b", "all-linear", 5_000_000)
    assert rank == 2  # 2,498,560 parameters a rank
    assert lora.lora_parameters("llama-2-7b", "all-linear", rank + 1) > 5_000_000


def test_adapter_training_takes_sixteen_bytes_a_parameter():
    assert formulas.adapter_training_size("llama-7b", "q_proj,v_proj", 8, "B") == 16 * 4_194_304
    difference = formulas.adapter_size_difference(
        "llama-7b", "q_proj,v_proj", 8, "q_proj,v_proj", other_rank=16, unit="B"
    )
    assert difference == 16 * 4_194_304


def test_information_of_data_and_adapter():
    assert formulas.data_bits(1000, math.log(2)) == pytest.approx(1000)
    assert formulas.adapter_capacity_bits("llama-3-8b", 1) == 2 * 32 * 81_920
    assert formulas.data_over_capacity(1000, math.log(2), "llama-3-8b", 1) == pytest.approx(1000 / 5_242_880)
    assert formulas.reward_bits(10_000, 32) == 320_000


@pytest.mark.parametrize("slope", [0.0, math.sqrt(5)])
def test_kaiming_deviation_equals_pytorchs(slope):
    torch.manual_seed(0)
    weight = torch.empty(400, 500)
    torch.nn.init.kaiming_uniform_(weight, a=slope)
    assert formulas.kaiming_uniform_deviation(500, slope) == pytest.approx(weight.std().item(), rel=0.01)


def test_first_update_equals_a_real_adam_step():
    torch.manual_seed(0)
    rank, width, rate = 16, 512, 1e-3
    a = torch.nn.Parameter(torch.nn.init.kaiming_uniform_(torch.empty(rank, width), a=math.sqrt(5)))
    b = torch.nn.Parameter(torch.zeros(width, rank))
    optimizer = torch.optim.Adam([a, b], lr=rate)
    x, target = torch.randn(width, 256), torch.randn(width, 256)
    (2.0 * b @ (a @ x) - target).pow(2).mean().backward()
    optimizer.step()
    change = (2.0 * b @ a).pow(2).mean().sqrt().item()
    assert formulas.first_update_size(rate, rank, 32, width) == pytest.approx(change, rel=0.1)


def test_first_update_share():
    # 2 sqrt(16 / (3 * 4096)) = 0.07217
    assert formulas.first_update_share_percent(16, 32, 4096) == pytest.approx(7.217, abs=0.001)


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.0), (0.0, 0.0), (0.3, -0.7)])
def test_gradients_equal_autograds(a, b):
    first, second = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    output = 2.0 * second * first * 1.5
    (4.0 * output).backward()
    assert formulas.bypass_output(a, b, 1.5) == pytest.approx(output.item())
    assert formulas.gradient_of_a(a, b, 1.5, upstream=4.0) == pytest.approx(first.grad.item())
    assert formulas.gradient_of_b(a, b, 1.5, upstream=4.0) == pytest.approx(second.grad.item())


def test_a_gets_a_gradient_in_the_second_step():
    # b becomes -0.1 * 2 * 0.3 = -0.06, and the gradient of a is 2 * -0.06
    assert formulas.gradient_of_a_in_the_second_step(0.3, 0.1) == pytest.approx(-0.12)


def test_projection_on_random_directions():
    torch.manual_seed(0)
    gradient, a = torch.randn(300, 1000), torch.randn(40, 1000)
    update = gradient @ a.T @ a
    cosine = torch.nn.functional.cosine_similarity(gradient.flatten(), update.flatten(), dim=0).item()
    assert formulas.random_projection_cosine(40, 1000) == pytest.approx(cosine, rel=0.05)


@pytest.mark.parametrize("value", [0.011, 0.1, 0.5, 1.0, 3.7])
def test_bf16_spacing_equals_pytorchs(value):
    here = torch.tensor(value, dtype=torch.bfloat16)
    there = torch.nextafter(here, torch.tensor(100.0, dtype=torch.bfloat16))
    assert formulas.bf16_spacing(value) == (there - here).item()


def test_small_steps_vanish_in_bf16():
    assert formulas.bf16_smallest_step(0.1) == 2**-12
    assert formulas.bf16_step_share(0.1, 1e-4) < 1
    assert (torch.tensor(0.1, dtype=torch.bfloat16) + 1e-4).item() == torch.tensor(0.1, dtype=torch.bfloat16).item()


def test_standard_error_of_an_accuracy():
    assert formulas.score_standard_error(50, 400) == pytest.approx(2.5)
    assert formulas.score_half_width(50, 400) == pytest.approx(4.9, abs=0.001)
    assert formulas.unpaired_difference_error(50, 50, 400) == pytest.approx(2.5 * math.sqrt(2))


def test_paired_errors_equal_those_of_the_differences():
    # 60 questions won, 40 lost, 900 equal: the sample itself
    differences = [1] * 60 + [-1] * 40 + [0] * 900
    mean = fmean(differences)
    error = math.sqrt(fmean([(d - mean) ** 2 for d in differences]) / 1000)
    assert formulas.paired_difference(60, 40, 1000) == pytest.approx(2.0)
    assert formulas.paired_difference_error(60, 40, 1000) == pytest.approx(100 * error)
    assert formulas.paired_z(60, 40, 1000) == pytest.approx(mean / error)


def test_questions_for_an_interval():
    assert formulas.questions_for_half_width(50, 3) == 1068  # the pollster's number: 1067.1
    assert formulas.score_half_width(50, 1068) <= 3 < formulas.score_half_width(50, 1067)


def test_seed_interval():
    # mean 72, deviation 1, t(2) = 4.303
    assert formulas.seed_mean("71,72,73") == 72
    assert formulas.seed_deviation("71,72,73") == 1
    assert formulas.student_factor(3) == pytest.approx(4.303, abs=0.001)
    assert formulas.seed_half_width("71,72,73") == pytest.approx(4.303 / math.sqrt(3), abs=0.001)
    assert formulas.half_width_of_deviation(1, 3, 1.96) == pytest.approx(1.96 / math.sqrt(3))


def test_one_score_has_no_spread():
    with pytest.raises(ValueError, match="at least two"):
        formulas.seed_deviation("71")


@pytest.mark.parametrize("runs", [2, 5, 20])
def test_best_of_noise_equals_a_simulation(runs):
    draw = random.Random(0)
    simulated = fmean(max(draw.gauss(0, 1) for _ in range(runs)) for _ in range(20_000))
    assert formulas.best_of_noise(runs) == pytest.approx(simulated, abs=0.03)


def test_best_of_two_has_a_closed_form():
    assert formulas.best_of_noise(2, 3) == pytest.approx(3 / math.sqrt(math.pi), rel=1e-5)


def test_what_lora_keeps():
    assert formulas.kept_gain_percent(40, 60, 58) == pytest.approx(90)
    assert formulas.kept_score_percent(60, 58) == pytest.approx(96.67, abs=0.01)
    assert formulas.chance_corrected_percent(25, 4) == 0
    assert formulas.chance_corrected_percent(62.5, 4) == 50


def test_runs_of_a_grid():
    assert formulas.sweep_runs(5, 4, 3) == 60


def test_two_scores_on_gsm8k_are_apart_by_their_standard_errors():
    # 4.39 points over sqrt(1.375^2 + 1.376^2)
    assert formulas.unpaired_z(47.69, 52.08, 1319) == pytest.approx(2.257, abs=1e-3)
    assert formulas.unpaired_z(52.08, 47.69, 1319) == pytest.approx(-2.257, abs=1e-3)
