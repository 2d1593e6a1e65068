"""Formulas of variants, PEFT methods and continual learning against hand arithmetic, papers and PEFT's own counts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.formulas import variants as formulas


def test_adalora_budget_falls_along_a_cubic():
    # half-way through pruning (1 - 0.5)^3 = 1/8 of the surplus of 4 is left
    assert formulas.adalora_budget(12, 8, 100, 200, 400, total=1000) == 12
    assert formulas.adalora_budget(12, 8, 400, 200, 400, total=1000) == 8.5
    assert formulas.adalora_budget(12, 8, 601, 200, 400, total=1000) == 8
    assert formulas.adalora_progress(400, 200, 400, 1000) == 0.5
    assert formulas.linear_budget(12, 8, 400, 200, 400, total=1000) == 10
    assert formulas.adalora_progress(900, 200, 400, 1000) == 1


def test_adalora_score_adds_means():
    assert formulas.adalora_score(0.5, 8.0, 2.0, 4, 8) == pytest.approx(0.5 + 2 + 0.25)
    assert formulas.rank_sum(16, 4, 12) == 32


def test_dora_keeps_the_length_that_it_is_given():
    # (3, 4) + (3, 4) points the same way, so magnitude 5 gives the old vector back
    assert formulas.dora_length(3, 4, 3, 4) == 10
    assert formulas.changed_component(3, -1) == 2
    assert formulas.dora_component(5, 3, 4, 3, 4) == 3
    assert formulas.direction_change(3, 4, 3, 4) == pytest.approx(0)
    assert formulas.direction_change(1, 0, -1, 1) == pytest.approx(1)


def test_vera_of_llama_2():
    # outputs of a block: 5 · 4096 + 2 · 11008 = 42,496; 7 · 256 = 1,792; 32 blocks
    assert formulas.vera_parameters("llama-2-7b", "all-linear", 256) == 1_417_216
    assert formulas.lora_xs_parameters("llama-2-7b", "q_proj,v_proj", 16) == 32 * 2 * 256


def test_layer_counts_agree_with_peft():
    # counted with PEFT on a Llama of width 64, KV width 32, three layers (LoHa r=4, LoKr r=2 factor 4, OFT 16, HRA 8)
    assert 3 * (formulas.loha_layer_parameters(64, 64, 4) + formulas.loha_layer_parameters(64, 32, 4)) == 5376
    assert 3 * (formulas.lokr_layer_parameters(64, 64, 2, 4) + formulas.lokr_layer_parameters(64, 32, 2, 4)) == 432
    assert 3 * 2 * formulas.oft_layer_parameters(64, 16) == 2880
    assert 3 * 2 * formulas.hra_layer_parameters(64, 8) == 3072
    assert 3 * formulas.vera_layer_parameters(64, 16) == 240


def test_rank_bounds_of_products():
    assert formulas.loha_rank_bound(8, 4096, 4096) == 64
    assert formulas.loha_rank_bound(100, 4096, 4096) == 4096
    assert formulas.lokr_rank_bound(4096, 4096, 4, 8) == 32


def test_convolutions():
    # 3 x 3, 320 -> 320: 921,600 weights; rank 8: 9 · 320 · 8 + 320 · 8 = 25,600
    assert formulas.conv_parameters(320, 320, 3) == 921_600
    assert formulas.locon_parameters(320, 320, 3, 8) == 25_600
    assert formulas.locon_reduction(320, 320, 3, 8) == 36


def test_galore_projects_the_short_side():
    # 4096 x 11008, rank 128: 4096 · 128 + 2 · 128 · 11008
    assert formulas.galore_state_values(11008, 4096, 128) == 524_288 + 2_818_048
    assert formulas.lora_state_values(11008, 4096, 128) == 2 * 128 * 15_104
    assert formulas.galore_saving(11008, 4096, 128) == pytest.approx(90_177_536 / 3_342_336)


def test_time_ratio():
    assert formulas.time_ratio(150, 120) == 1.25


def test_ia3_of_llama_3_2_shape():
    # LLaMA-7B: 32 · (2 · 4096 + 11008); Llama 3 8B: 32 · (2 · 1024 + 14336)
    assert formulas.ia3_parameters("llama-7b") == 614_400
    assert formulas.ia3_parameters("llama-3-8b") == 524_288


def test_prompts_and_prefixes():
    # GPT-3's prefix embedding in the LoRA paper: (256 + 8) · 12288 = 3.2 million
    assert formulas.prompt_parameters("gpt3-175b", 264) == 3_244_032
    assert formulas.prefix_parameters("llama-2-7b", 100) == 2 * 32 * 100 * 4096
    assert formulas.prefix_parameters("llama-3-8b", 100) == 2 * 32 * 100 * 1024
    # smollm2: width 192; 10 · 192 + 192 · 20 + 20 + 20 · 11520 + 11520
    assert formulas.prefix_encoder_parameters("smollm2-135m", 10, 20) == 247_700


def test_p_tuning_trains_an_mlp_of_three_layers():
    # smollm2: 8 · 576 + 576 · 128 + 128 + 128 · 128 + 128 + 128 · 576 + 576
    assert formulas.p_tuning_parameters("smollm2-135m", 8, 128) == 169_280


def test_lokr_keeps_a_large_factor_whole_where_a_product_saves_nothing():
    # q of smollm2 in factors 8 × 8 and 72 × 72, 30 blocks
    assert formulas.peft_lokr_parameters("smollm2-135m", "q_proj", 8, 8) == 30 * (64 + 8 * 144)
    assert formulas.peft_lokr_parameters("smollm2-135m", "q_proj", 36, 8) == 30 * (64 + 72 * 72)


def test_bottleneck_adapters_of_gpt3():
    # the LoRA paper's Adapter-H rows: 7.1 and 40.1 million, for bottlenecks 1 and 8
    assert formulas.bottleneck_parameters("gpt3-175b", 1) == 7_078_080
    assert formulas.bottleneck_parameters("gpt3-175b", 8) == 40_109_568
    # LLaMA-7B: 64 modules of 528,448 parameters against 6,738,415,616 in all and 6,476,005,376 in linear layers
    assert formulas.bottleneck_share_percent("llama-7b", 64) == pytest.approx(100 * 33_820_672 / 6_738_415_616)
    assert formulas.adapter_block_share_percent("llama-7b", 64) == pytest.approx(100 * 33_820_672 / 6_476_005_376)


def test_prefix_share():
    assert formulas.prefix_share_percent("llama-7b", 10) == pytest.approx(100 * 2_621_440 / 6_738_415_616)


def test_norms_and_biases():
    assert formulas.norm_parameters("llama-7b") == 65 * 4096
    assert formulas.bias_parameters("llama-7b") == 0
    # GPT-3: 96 · (4 · 12288 + 49152 + 12288) + 193 · 12288
    assert formulas.bias_parameters("gpt3-175b") == 10_616_832 + 2_371_584


def test_ewc():
    assert formulas.ewc_penalty(4, formulas.ewc_term(2, 1, 3), formulas.ewc_term(1, 0, 1)) == 18
    # strong Fisher keeps the old value, zero Fisher lets the new task decide
    assert formulas.ewc_optimum(1, 2, 3, 1, 0) == 0.5
    assert formulas.ewc_optimum(1, 2, 3, 0, 0) == 2
    assert formulas.unweighted_optimum(1, 2, 1, 0) == 1


def test_cost_of_keeping_old_tasks():
    assert formulas.joint_training_tokens(4, 10) == 100
    assert formulas.replay_training_tokens(4, 10, 20) == pytest.approx(10 + 3 * 12.5)
    assert formulas.backward_transfer(80, 70, 74, 68) == -4
    assert formulas.average_accuracy(60, 70, 80) == 70


def test_random_similarity_is_small():
    assert formulas.random_similarity(4096) == pytest.approx(math.sqrt(2 * math.log(4096) / 4096))
    assert formulas.random_similarity(4096) < 0.07


@given(st.integers(1, 64), st.integers(0, 3000))
def test_the_budget_stays_between_start_and_target(target: int, step: int):
    budget = formulas.adalora_budget(2 * target, target, step, 300, 300, total=2000)
    assert target <= budget <= 2 * target
