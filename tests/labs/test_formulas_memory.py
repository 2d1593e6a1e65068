"""Memory formulas against sums worked out by hand and numbers from papers; tests/worker counts the same on tensors."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.formulas import lora, memory, serving

LLAMA_LIKE = st.sampled_from(["llama-7b", "llama-2-70b", "llama-3.1-8b", "mistral-7b", "qwen2.5-7b", "smollm2-135m"])
SIZES = st.integers(min_value=1, max_value=4096)
RANKS = st.integers(min_value=1, max_value=256)


def test_selective_recomputation_of_gpt3():
    # Korthikanti et al. 2022: 34 s b h; the scores add 5 a s / h = 80 for a = 96, s = 2048, h = 12288
    assert memory.selective_activation_size(12288, 1, 2048) == 34 * 2048 * 12288
    assert serving.block_activation_size(12288, 96, 1, 2048) == (34 + 80) * 2048 * 12288


def test_block_of_llama_7b():
    # 24 h + 8 f, 4 bytes a head, 8 for the two norms' roots
    per_token = 24 * 4096 + 8 * 11008 + 4 * 32 + 8
    assert memory.llama_block_activation_size("llama-7b", 1, 1) == per_token == 186_504
    assert memory.llama_activation_size("llama-7b", 2, 512, unit="GB") == pytest.approx(32 * 1024 * per_token / 1e9)


def test_grouped_queries_keep_fewer_keys_and_values():
    # LLaMA-3.1-8B: keys and values of 8 heads of 128 where LLaMA-7B has 32
    per_token = 20 * 4096 + 2 * 2 * 1024 + 8 * 14336 + 4 * 32 + 8
    assert memory.llama_block_activation_size("llama-3.1-8b", 1, 1) == per_token


def test_eager_attention_keeps_the_scores():
    # fp32 softmax and its 16-bit copy, heads x length a token; no denominators
    flash = memory.llama_block_activation_size("llama-7b", 1, 2048)
    eager = memory.llama_block_activation_size("llama-7b", 1, 2048, "eager")
    assert eager - flash == 2048 * (6 * 32 * 2048 - 4 * 32)


def test_adapters_in_fp32_copy_every_input():
    # copies of 4 bytes: three of the attention's input, its output, two of the MLP's input, the MLP's product
    copies = 4 * (6 * 4096 + 11008) + 7 * 4 * 16
    kept = 8 * 4096 + 8 * 4096 + 6 * 11008 + 4 * 32 + 8
    assert memory.lora_block_activation_size("llama-7b", 1, 1) == kept + copies
    same = memory.lora_block_activation_size("llama-7b", 1, 1, adapter_precision="bf16")
    assert same == kept + 2 * (2 * 4096 + 11008) + 7 * 2 * 16


def test_lora_with_fp32_adapters_keeps_more_than_full_fine_tuning():
    assert memory.lora_activation_percent("llama-7b") == pytest.approx(100 * 274_504 / 186_504)
    assert memory.lora_activation_percent("llama-7b", adapter_precision="bf16") < 100
    assert memory.lora_activation_percent("llama-7b", "q_proj,v_proj") < 100


def test_loss_of_llama_3():
    assert memory.loss_forward_size("llama-3.1-8b", 1, 1) == 10 * 128_256
    assert memory.loss_forward_size("llama-3.1-8b", 1, 1, "fp32") == 8 * 128_256
    assert memory.loss_backward_size("llama-3.1-8b", 2, 2048) == 12 * 128_256 * 4096
    assert memory.chunked_loss_size("llama-3.1-8b", 2, 2048) == 12 * 128_256 * 1024
    assert memory.chunked_loss_size("llama-3.1-8b", 1, 100) == memory.loss_backward_size("llama-3.1-8b", 1, 100)


def test_checkpointing_keeps_inputs_and_one_block():
    expected = 32 * 512 * 4096 * 2 + 512 * 186_504
    assert memory.checkpointed_activation_size("llama-7b", 1, 512) == expected


def test_int8_base():
    rows = 32 * (4 * 4096 + 2 * 11008 + 4096)
    assert memory.int8_base_size("llama-7b") == 6_476_005_376 + 4 * rows + 2 * (2 * 32_000 * 4096 + 65 * 4096)


def test_nf4_matrix():
    # 4096 x 4096: half a byte each, 2^18 constants, 2^10 of the second kind, mean and tables
    codes, constants = 2**23, 2**18
    assert memory.block_quantised_size(4096, 4096, False) == codes + 4 * constants + 64
    assert memory.block_quantised_size(4096, 4096, True) == codes + constants + 4 * 2**10 + 4 + 1024 + 64
    assert memory.block_quantised_bits(4096, 11008, True) == pytest.approx(lora.nf4_bits_per_parameter(True), abs=3e-4)


@given(rows=SIZES, columns=SIZES)
def test_counted_bits_come_near_the_formula_from_above(rows, columns):
    for double in (False, True):
        counted = memory.block_quantised_bits(rows, columns, double)
        assert counted >= lora.nf4_bits_per_parameter(double) - 1e-9
        # tables, and the last blocks that are not full
        assert counted * rows * columns <= lora.nf4_bits_per_parameter(double) * rows * columns + 8 * 1120


def test_largest_layer_of_llama_7b():
    assert memory.dequantised_layer_size("llama-7b") == 2 * 4096 * 11008


@pytest.mark.parametrize(
    ("optimizer", "size"),
    [
        ("adamw", 2 * 4 * 39_976_960),
        ("sgd", 0),
        ("sgd-momentum", 4 * 39_976_960),
        # two bytes, and 2 x 4 bytes a block of 256; every factor of rank 16 is a multiple of 256 and above 4096
        ("adamw-8bit", 2 * 39_976_960 + 8 * 39_976_960 // 256),
        # a row and a column: A is 16 x d_in, B is d_out x 16, seven layers in 32 blocks
        ("adafactor", 4 * 32 * (7 * 2 * 16 + 5 * 4096 + 2 * 11008 + 6 * 4096 + 11008)),
    ],
)
def test_optimizer_states_of_an_adapter(optimizer, size):
    assert memory.optimizer_state_size("llama-7b", "all-linear", 16, optimizer) == size


def test_optimizer_states_of_a_whole_model():
    assert memory.optimizer_state_size("llama-7b") == 8 * 6_738_415_616
    assert memory.optimizer_state_size("llama-7b", precision="bf16") == 4 * 6_738_415_616
    assert memory.state_bytes_per_parameter_8_bit() == 2 * (1 + 4 / 256)
    eight_bits = memory.optimizer_state_size("llama-7b", optimizer="adamw-8bit")
    assert eight_bits == pytest.approx(memory.state_bytes_per_parameter_8_bit() * 6_738_415_616)


@given(model=st.sampled_from(sorted(lora.MODELS)))
def test_an_optimizer_sees_every_parameter(model):
    momentum = memory.optimizer_state_size(model, optimizer="sgd-momentum")
    assert momentum == 4 * lora.model_parameters(model)


@given(model=st.sampled_from(sorted(lora.MODELS)), rank=RANKS)
def test_states_get_smaller_in_the_known_order(model, rank):
    sizes = [
        memory.optimizer_state_size(model, "q_proj,v_proj", rank, optimizer)
        for optimizer in ("adamw", "sgd-momentum", "sgd")
    ]
    assert sizes == sorted(sizes, reverse=True)
    eight_bits = memory.optimizer_state_size(model, "q_proj,v_proj", rank, "adamw-8bit")
    assert sizes[0] / 4 < eight_bits <= sizes[0]


def test_gathered_block():
    block = 4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096
    assert memory.gathered_block_size("llama-7b") == 2 * block


def test_peaks_of_7b():
    # bf16 weights, gradients, two moments and the roots of one: 10 bytes a parameter
    assert memory.full_training_peak("llama-7b", 1, 512) == pytest.approx(67.384, abs=0.001)
    base, adapter = 2 * 6_738_415_616, 12 * 39_976_960  # backward begins: no gradients yet
    kept = 512 * 32 * 4096 * 2 + 512 * memory.lora_block_activation_size("llama-7b", 1, 1)
    loss = 12 * 512 * 32_000
    assert kept - 512 * 32 * 4096 * 2 < loss
    expected = base + adapter + 512 * 32 * 4096 * 2 + loss
    assert memory.lora_training_peak("llama-7b", "all-linear", 16, 1, 512, unit="B") == pytest.approx(expected)


def test_parts_of_the_larger_moment():
    training = memory.Training("all-linear", 16, weights="nf4-double")
    parts = memory.peak_parts("llama-7b", 1, 512, training)
    assert parts["weights"] == lora.nf4_base_size("llama-7b") + 4 * 39_976_960
    assert parts["optimizer states"] == 8 * 39_976_960
    assert parts["activations"] == 512 * 32 * 4096 * 2
    assert parts["loss"] == 12 * 512 * 32_000
    assert "temporaries" not in parts  # no layer is read while the loss is computed
    longer = memory.peak_parts("llama-7b", 1, 512, replace(training, chunk=16))
    assert longer["temporaries"] == 2 * 4096 * 11_008
    full = memory.peak_parts("llama-7b", 1, 8, memory.Training("full"))
    assert full == {
        "weights": 2 * 6_738_415_616,
        "optimizer states": 4 * 6_738_415_616,
        "gradients": 2 * 6_738_415_616,
        "temporaries": 2 * 6_738_415_616,
    }
    fused = memory.peak_parts("llama-7b", 1, 8, memory.Training("full", optimizer="adamw-fused"))
    assert fused == full | {"temporaries": 0}


def test_accumulation_keeps_gradients_beside_activations():
    training = memory.Training("full", checkpointing=False)
    once = memory.peak_parts("llama-7b", 8, 2048, training)
    assert "gradients" not in once
    parts = memory.peak_parts("llama-7b", 8, 2048, replace(training, accumulates=True))
    assert parts == once | {"gradients": 2 * 6_738_415_616}


def test_a_chunked_loss_leaves_the_recomputed_block():
    training = memory.Training("full", chunk=16)
    parts = memory.peak_parts("llama-7b", 64, 2048, training)
    assert "loss" not in parts
    assert parts["activations"] == 64 * 2048 * (32 * 4096 * 2 + 186_504)


@given(model=LLAMA_LIKE, batch=st.integers(1, 8), length=st.integers(2, 4096), rank=st.integers(1, 64))
def test_peaks_are_ordered(model, batch, length, rank):
    arguments = (model, "all-linear", rank, batch, length)
    assert memory.qlora_training_peak(*arguments) < memory.lora_training_peak(*arguments)
    assert memory.lora_training_peak(*arguments) <= memory.lora_training_peak(*arguments, checkpointing=False)
    kept = memory.full_training_peak(model, batch, length, checkpointing=False)
    assert memory.full_training_peak(model, batch, length) <= kept


@given(model=LLAMA_LIKE, batch=st.integers(1, 8), length=st.integers(1, 8192))
def test_activations_are_linear_in_the_batch_and_flash_ones_in_the_length(model, batch, length):
    one = memory.llama_block_activation_size(model, 1, 1)
    assert memory.llama_block_activation_size(model, batch, length) == batch * length * one
    eager = memory.llama_block_activation_size(model, batch, length, "eager")
    assert eager == batch * memory.llama_block_activation_size(model, 1, length, "eager")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: memory.llama_block_activation_size("gpt2", 1, 1), "gpt2 has no blocks of LLaMA's shape"),
        (lambda: memory.llama_block_activation_size("gemma-2-2b", 1, 1), "gemma-2-2b has no blocks of LLaMA's shape"),
        (lambda: memory.llama_block_activation_size("llama-7b", 1, 1, "sparse"), "Unknown attention 'sparse'"),
        (lambda: memory.lora_block_activation_size("llama-7b", 1, 1, "c_attn"), "no linear layer 'c_attn'"),
        (lambda: memory.optimizer_state_size("llama-7b", optimizer="lion"), "Unknown optimizer 'lion'; known: adamw"),
    ],
)
def test_what_does_not_exist_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
