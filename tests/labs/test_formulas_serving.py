"""Serving and scaling formulas against hand arithmetic and the figures of the papers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.formulas import serving as formulas


def test_kv_cache_of_llama_2():
    # 7B: 2 · 32 layers · 32 heads · 128 · 2 bytes = 524,288 bytes a token; 70B has 8 KV heads and 80 layers
    assert formulas.batch_kv_cache_size("llama-2-7b", 1, 1) == 524_288
    assert formulas.batch_kv_cache_size("llama-2-70b", 1, 1) == 327_680
    assert formulas.batch_kv_cache_size("llama-2-7b", 1, 4096, unit="GiB") == 2


def test_shape_of_the_kv_cache():
    assert (formulas.layer_count("llama-2-70b"), formulas.kv_head_count("llama-2-70b")) == (80, 8)
    assert formulas.half_kv_cache_size("llama-2-7b", 1, 1) == 262_144


def test_what_fits_in_a_memory():
    # 40 GB - 13.476831232 GB of weights, 2.147483648 GB a sequence of 4,096 tokens
    assert formulas.sequences_that_fit("llama-2-7b", 40, 4096) == 12
    assert formulas.sequences_that_fit("llama-2-7b", 13, 4096) == 0
    assert formulas.adapters_that_fit("llama-2-7b", "q_proj,v_proj", 8, 1.0) == 119


def test_loading_times():
    # 8,388,608 bytes at 25 GB/s and 13.48 GB at 25 GB/s
    assert formulas.load_time("llama-2-7b", "q_proj,v_proj", 8, 25) == pytest.approx(0.33554432)
    assert formulas.base_load_time("llama-2-7b", 25) == pytest.approx(0.53907, abs=1e-5)


def test_decoding_reads_the_weights_once():
    assert formulas.decode_step_time("llama-2-7b", 2000) == pytest.approx(6.738415616)
    more = formulas.decode_step_time("llama-2-7b", 2000, 10, "q_proj,v_proj", 8, kv_cache=2.0)
    assert more == pytest.approx(6.738415616 + 10 * 8_388_608 / 2e9 + 1)


def test_merging_costs_as_much_as_a_few_tokens():
    assert formulas.merge_in_tokens("llama-2-7b", "all-linear", 16) == 17
    assert formulas.merge_teraflops("llama-2-7b", "all-linear", 16) == pytest.approx(2 * 17 * 6_476_005_376 / 1e12)
    assert formulas.merge_petaflops("llama-2-7b", "all-linear", 16) == pytest.approx(0.000220, abs=1e-6)


def test_sharing_a_base():
    assert formulas.replicas_memory("llama-7b", 10) == pytest.approx(134.76831232)
    assert formulas.shared_base_memory("llama-7b", "q_proj,v_proj", 8, 10) == pytest.approx(13.476831232 + 0.08388608)
    assert formulas.shared_base_saving_percent("llama-7b", "q_proj,v_proj", 8, 10) == pytest.approx(89.94, abs=0.01)


def test_training_states():
    assert formulas.precision_bytes("bf16") == 2
    assert formulas.adam_states_of("llama-7b") == pytest.approx(8 * 6.738415616)
    assert formulas.vocabulary_size("llama-3-8b") == 128_256


def test_activations():
    assert formulas.checkpoint_size("llama-7b", 1, 2048) == 32 * 2048 * 4096 * 2
    assert formulas.logits_size("llama-3-8b", 1, 8192) == 8192 * 128_256 * 4
    # Korthikanti et al. 2022: GPT-3 175B has 5as/h = 80 at s = 2048
    assert formulas.block_activation_size(12288, 96, 1, 2048) == 2048 * 12288 * (34 + 80)
    assert formulas.model_activation_size("gpt3-175b", 1, 2048) == 96 * 2048 * 12288 * (34 + 80)


def test_gradients_of_smollm2_match_the_bytes_that_a_communication_hook_counted():
    assert formulas.gradient_size("smollm2-135m", "q_proj,v_proj", 8) == 1_843_200
    assert formulas.gradient_size("smollm2-135m", "full", 0) == 538_060_032


@given(ranks=st.integers(min_value=2, max_value=1024))
def test_ring_all_reduce_sends_between_one_and_two_times_the_data(ranks):
    assert 1 <= formulas.all_reduce_traffic(1.0, ranks) < 2


def test_all_reduce_time():
    # 13.476831232 GB · 2 · 7/8 at 100 GB/s
    assert formulas.all_reduce_time("llama-7b", "full", 0, 8, 100) == pytest.approx(235.84, abs=0.01)
    assert formulas.all_reduce_reduction("llama-7b", "q_proj,v_proj", 8) == pytest.approx(1606.56, abs=0.01)


@pytest.mark.parametrize(("stage", "gigabytes"), [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_zero_figure_1(stage, gigabytes):
    # Rajbhandari et al. 2019, figure 1: 7.5B parameters on 64 devices
    assert formulas.zero_full_size(7.5e9, 64, stage) == pytest.approx(gigabytes, abs=0.05)


def test_lora_gains_nothing_from_the_first_two_stages():
    plain = formulas.zero_lora_size("llama-7b", "q_proj,v_proj", 8, 8, 0)
    sharded = formulas.zero_lora_size("llama-7b", "q_proj,v_proj", 8, 8, 2)
    assert plain == pytest.approx(13.4768 + 0.0587, abs=1e-3)
    assert sharded == pytest.approx(13.4768 + 0.0073, abs=1e-3)
    assert formulas.zero_lora_size("llama-7b", "q_proj,v_proj", 8, 8, 3) == pytest.approx(plain / 8)


def test_fsdp_traffic_has_no_gradients_for_a_frozen_base():
    assert formulas.fsdp_traffic("llama-7b", 8, trains_all=True) == pytest.approx(3 * 7 / 8 * 13.476831232)
    assert formulas.fsdp_traffic("llama-7b", 8, trains_all=False) == pytest.approx(2 * 7 / 8 * 13.476831232)


def test_small_shares_of_the_bypass():
    assert formulas.tensor_parallel_bypass_percent("llama-2-70b", 16) == pytest.approx(100 * 16 / 8192)
    assert formulas.bypass_weight_percent("llama-7b", "all-linear", 16) == pytest.approx(0.6173, abs=1e-4)


def test_combining_adapters():
    assert formulas.concatenated_rank("8,8,16") == 32
    assert formulas.factor_average_share(4) == 0.25
    assert formulas.sum_of_ranks(8, 16, 32) == 56
    assert formulas.stacked_parameters(8, 16, 32, 4096) == 56 * 8192
    assert formulas.distinct_adapters_percent("llama-7b", "all-linear", 16, 64) == pytest.approx(39.51, abs=0.01)


def test_storage_is_paid_by_the_gigabyte():
    assert formulas.storage_cost("llama-7b", "full", 0, 100, 0.1) == pytest.approx(134.77, abs=0.01)  # 1347.7 GB
    assert formulas.storage_cost("llama-7b", "q_proj,v_proj", 8, 100, 0.1) == pytest.approx(1.4316, abs=1e-4)


def test_minutes_of_a_training_follow_from_its_operations():
    # 4 operations a frozen weight and token, 6 a trained one: about 27.1 GFLOPs a token for LLaMA-7B
    minutes = formulas.adapter_training_minutes("llama-7b", "q_proj,v_proj", 8, 1e6, 100)
    assert minutes == pytest.approx(1e6 * 27.1e9 / 100e12 / 60, rel=0.05)
