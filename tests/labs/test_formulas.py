"""Formulas against numbers from papers, model cards and hand arithmetic, and against properties that must hold."""

import inspect
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.formulas import lora as formulas

MODEL_NAMES = st.sampled_from(sorted(formulas.MODELS))
RANKS = st.integers(min_value=1, max_value=512)
WIDTHS = st.integers(min_value=1, max_value=20_000)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        # what `sum(p.numel() for p in model.parameters())` prints for the released checkpoints
        ("llama-7b", 6_738_415_616),
        ("llama-13b", 13_015_864_320),
        ("llama-65b", 65_285_660_672),
        ("llama-2-70b", 68_976_648_192),
        ("llama-3-8b", 8_030_261_248),
        ("gemma-2b", 2_506_172_416),
        ("smollm2-135m", 134_515_008),
    ],
)
def test_model_parameters_equal_the_released_checkpoint(model, parameters):
    assert formulas.model_parameters(model) == parameters


def test_gpt3_is_within_one_percent_of_its_paper():
    # Hu et al. 2021, Table 4, gives 175,255.8 million trainable parameters for full fine-tuning
    assert formulas.model_parameters("gpt3-175b") == pytest.approx(175_255.8e6, rel=0.01)


@pytest.mark.parametrize(("rank", "parameters"), [(1, 4_718_592), (4, 18_874_368), (8, 37_748_736)])
def test_gpt3_query_value_adapter(rank, parameters):
    # 96 blocks, two square matrices of 12,288, two factors each
    assert parameters == 96 * 2 * 2 * 12_288 * rank
    assert formulas.lora_parameters("gpt3-175b", "q_proj,v_proj", rank) == parameters


def test_all_linear_adapter_of_llama_7b():
    # PEFT prints "trainable params: 39,976,960" for r=16 on the seven layers
    assert formulas.lora_parameters("llama-7b", "all-linear", 16) == 39_976_960


def test_all_linear_adapter_of_smollm2():
    # q 576+576, k and v 576+192 each, o 576+576, gate and up 576+1536 each, down 1536+576
    block = 1152 + 768 + 768 + 1152 + 2112 + 2112 + 2112
    assert formulas.lora_parameters("smollm2-135m", "all-linear", 8) == 30 * 8 * block


def test_grouped_query_attention_makes_the_key_adapter_smaller():
    assert formulas.lora_parameters("llama-2-70b", "k_proj", 16) == 80 * 16 * (8192 + 1024)
    assert formulas.lora_parameters("llama-2-70b", "q_proj", 16) == 80 * 16 * (8192 + 8192)


def test_layer_of_4096():
    assert formulas.layer_parameters(4096, 4096) == 16_777_216
    assert formulas.lora_layer_parameters(4096, 4096, 8) == 65_536
    assert formulas.lora_layer_reduction(4096, 4096, 8) == 256


@given(d_in=WIDTHS, d_out=WIDTHS, rank=RANKS)
def test_adapter_is_smaller_than_its_layer_below_the_break_even_rank(d_in, d_out, rank):
    break_even = d_in * d_out / (d_in + d_out)
    smaller = formulas.lora_layer_parameters(d_in, d_out, rank) < formulas.layer_parameters(d_in, d_out)
    assert smaller == (rank < break_even)


@given(model=MODEL_NAMES, rank=RANKS)
def test_parameters_are_linear_in_the_rank_and_add_up_over_targets(model, rank):
    layers = formulas.model_shape(model).linear_layers()
    assert formulas.lora_parameters(model, "all-linear", rank) == rank * formulas.lora_parameters(
        model, "all-linear", 1
    )
    parts = sum(formulas.lora_parameters(model, name, rank) for name in layers)
    assert parts == formulas.lora_parameters(model, "all-linear", rank)


@given(model=MODEL_NAMES, rank=RANKS)
def test_share_and_reduction_are_inverse(model, rank):
    share = formulas.lora_share_percent(model, "q_proj,v_proj", rank)
    assert share * formulas.lora_reduction(model, "q_proj,v_proj", rank) == pytest.approx(100)


@pytest.mark.parametrize(
    ("rank", "alpha", "rule", "scale"),
    [(8, 16, "standard", 2), (64, 16, "standard", 0.25), (64, 16, "rslora", 2), (1, 16, "rslora", 16)],
)
def test_scale(rank, alpha, rule, scale):
    assert formulas.lora_scale(rank, alpha, rule) == scale


@given(rank=RANKS, alpha=st.floats(min_value=0.01, max_value=1000))
def test_rank_stabilised_scale_is_larger_by_the_root_of_the_rank(rank, alpha):
    ratio = formulas.lora_scale(rank, alpha, "rslora") / formulas.lora_scale(rank, alpha)
    assert ratio == pytest.approx(math.sqrt(rank))


def test_kaiming_bound_of_peft_is_one_over_the_root_of_the_fan_in():
    assert formulas.kaiming_uniform_bound(4096, math.sqrt(5)) == pytest.approx(1 / 64)
    assert formulas.kaiming_bound_ratio(0, math.sqrt(5)) == pytest.approx(math.sqrt(6))


def test_nf4_bits():
    # 32/64 without, 8/64 + 32/(64·256) with double quantisation: Dettmers et al. 2023, section 3
    assert formulas.nf4_bits_per_parameter(False) == 4.5
    assert formulas.nf4_bits_per_parameter(True) == pytest.approx(4.127, abs=0.0005)
    assert formulas.double_quantisation_saving() == pytest.approx(0.373, abs=0.0005)


def test_nf4_base_keeps_embeddings_and_head_in_16_bits():
    rest = 2 * (2 * 32_000 * 4096 + 65 * 4096)
    quantised = 6_476_005_376 * (4 + 8 / 64 + 32 / 64 / 256) / 8
    assert formulas.nf4_base_size("llama-7b") == pytest.approx(rest + quantised)


def test_training_memory_of_65b_matches_the_paper():
    # 2 bytes of weights, 2 of gradients, 8 of Adam: "more than 780 GB" in Dettmers et al. 2023
    assert formulas.full_training_size("llama-65b", "bf16", "GB") == pytest.approx(65.285660672 * 12)
    assert formulas.qlora_training_size("llama-65b", "all-linear", 64, "GB") < 48


def test_lora_training_memory_of_7b():
    adapter = 4_194_304 * (4 + 4 + 8)
    assert formulas.lora_training_size("llama-7b", "q_proj,v_proj", 8, "fp32") == 6_738_415_616 * 4 + adapter
    assert formulas.adapter_share_percent("llama-7b", "q_proj,v_proj", 8, "fp32") == pytest.approx(
        100 * adapter / (6_738_415_616 * 4 + adapter)
    )


@given(model=MODEL_NAMES, rank=st.integers(min_value=1, max_value=64), activations=st.floats(0, 1e6))
def test_activations_shrink_the_memory_saving(model, rank, activations):
    without = formulas.lora_memory_saving(model, "q_proj,v_proj", rank, "bf16")
    assert 1 <= formulas.lora_memory_saving(model, "q_proj,v_proj", rank, "bf16", activations) <= without


def test_storage_of_a_hundred_tasks():
    assert formulas.full_storage("llama-7b", 100, "fp16", "GB") == pytest.approx(1347.683, abs=0.001)
    assert formulas.lora_storage("llama-7b", "q_proj,v_proj", 8, 100, "fp16") == 13_476_831_232 + 100 * 8_388_608
    assert formulas.storage_saving_percent("llama-7b", "q_proj,v_proj", 8, 100, "fp16") == pytest.approx(
        98.94, abs=0.01
    )


def test_adam_keeps_two_fp32_numbers_a_parameter():
    assert formulas.adam_state_size(1_000_000, unit="MB") == 8


@given(model=MODEL_NAMES, rank=st.integers(min_value=1, max_value=64))
def test_lora_step_costs_at_least_two_thirds_of_a_full_step(model, rank):
    bypass = formulas.lora_parameters(model, "all-linear", rank) / formulas.linear_parameters(model)
    assert formulas.lora_step_flops_ratio(model, "all-linear", rank) == pytest.approx(2 / 3 + bypass)
    assert formulas.bypass_flops_percent(model, "all-linear", rank) == pytest.approx(100 * bypass)


def test_merge_flops_of_one_matrix_type():
    # 32 matrices of 4096×4096: a product with inner dimension 8, then scale and add
    assert formulas.merge_flops("llama-7b", "q_proj", 8) == 32 * (2 * 8 + 2) * 4096 * 4096


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: formulas.model_parameters("gpt-5"), "Unknown model 'gpt-5'; known: llama-7b, "),
        (lambda: formulas.lora_parameters("gpt3-175b", "gate_proj", 8), "no linear layer 'gate_proj'; it has q_proj"),
        (lambda: formulas.weight_size("llama-7b", "fp8"), "Unknown precision 'fp8'; known: fp32"),
        (lambda: formulas.weight_size("llama-7b", "fp16", "kB"), "Unknown unit 'kB'; known: B, MB"),
        (lambda: formulas.lora_scale(8, 16, "root"), "Unknown scaling rule 'root'; known: standard, rslora"),
    ],
)
def test_a_wrong_name_is_answered_with_the_known_ones(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_every_formula_has_a_docstring_and_plain_arguments():
    for function in formulas.FORMULAS.values():
        assert inspect.getdoc(function)
        kinds = {parameter.annotation for parameter in inspect.signature(function).parameters.values()}
        assert kinds <= {int, float, str, bool}
