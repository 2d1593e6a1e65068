"""Architecture formulas against released configurations, hand arithmetic and independent implementations."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labs.formulas import architecture as formulas

XS = st.floats(min_value=-20, max_value=20)


@pytest.mark.parametrize(
    ("hidden", "intermediate"),
    [(4096, 11_008), (5120, 13_824), (8192, 22_016)],  # LLaMA 7B, 13B, 65B: released configurations
)
def test_gated_width_is_llamas(hidden, intermediate):
    assert formulas.gated_width(hidden, multiple=256) == intermediate


def test_gated_layer_has_as_many_parameters_as_an_ungated_one():
    # 3 * 512 * 1365 against 2 * 512 * 2048: equal but for the rounding of 1365.33
    assert formulas.ffn_parameters(512, formulas.gated_width(512), gated=True) == 2_096_640
    assert formulas.ffn_parameters(512, 2048, gated=False) == 2_097_152


def test_gated_ffn_parameters_of_llama_7b():
    assert formulas.gated_ffn_parameters(4096, multiple=256) == 3 * 4096 * 11_008


def test_ffn_holds_two_thirds_of_llama():
    # a block of LLaMA-7B: 4 * 4096^2 of attention, 3 * 4096 * 11008 of feed-forward
    share = 100 * 3 * 11_008 / (4 * 4096 + 3 * 11_008)
    assert formulas.ffn_share_percent("llama-7b") == pytest.approx(share)


@given(XS)
def test_activations_agree_with_torch(x):
    tensor = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    value = torch.nn.functional.gelu(tensor)
    value.backward()
    assert formulas.gelu(x) == pytest.approx(value.item(), abs=1e-12)
    assert formulas.gelu_gradient(x) == pytest.approx(tensor.grad.item(), abs=1e-12)
    approximation = torch.nn.functional.gelu(tensor, approximate="tanh")
    assert formulas.gelu_tanh(x) == pytest.approx(approximation.item(), abs=1e-9)


def test_the_tanh_form_is_close_but_not_equal():
    x = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    exact, approximate = torch.nn.functional.gelu(x), torch.nn.functional.gelu(x, approximate="tanh")
    assert formulas.gelu_tanh_max_error() == pytest.approx((exact - approximate).abs().max().item(), rel=1e-4)


def test_sigmoid_gradient_is_largest_in_the_middle():
    assert formulas.sigmoid_gradient(0) == 0.25
    assert formulas.sigmoid_gradient(10) < 1e-4
    assert formulas.gradient_through_layers(0.25, 10) == 2.0**-20


@pytest.mark.parametrize(
    ("layers", "kv_heads", "size"),
    [(32, 32, 524_288), (80, 8, 327_680), (32, 8, 131_072)],  # Llama 2 7B and 70B, Llama 3 8B
)
def test_cache_of_a_token(layers, kv_heads, size):
    assert formulas.cache_size(layers, kv_heads, 1) == size
    assert formulas.cache_size(layers, kv_heads, 1, batch=3) == 3 * size


def test_cache_of_a_long_sequence():
    assert formulas.cache_size(32, 8, 131_072, unit="GiB") == 16


def test_scores_grow_with_the_square_of_the_length():
    assert formulas.attention_score_size(32, 1024) == 32 * 1024 * 1024 * 2
    assert formulas.attention_score_size(32, 2048) == 4 * formulas.attention_score_size(32, 1024)


def test_attention_flops_follow_kaplan():
    # layers cancel: width * tokens over the weights of a block
    weights = 4 * 4096**2 + 3 * 4096 * 11_008
    assert formulas.attention_flops_percent("llama-7b", 2048) == pytest.approx(100 * 4096 * 2048 / weights)


def test_rope_wavelengths():
    assert formulas.rope_wavelength(10_000, 128, 0) == pytest.approx(2 * math.pi)
    assert formulas.rope_longest_wavelength(10_000, 128) == pytest.approx(54_410, rel=1e-4)
    with pytest.raises(ValueError, match="Invalid pair 64"):
        formulas.rope_wavelength(10_000, 128, 64)


def test_slow_pairs_agree_with_the_inverse_frequencies_of_the_model():
    frequencies = 1.0 / (500_000 ** (torch.arange(0, 128, 2, dtype=torch.float64) / 128))
    slow = int((2 * math.pi / frequencies > 8192).sum())
    assert formulas.rope_slow_pairs(500_000, 128, 8192) == slow


@given(st.floats(min_value=1, max_value=100), st.sampled_from([64, 128, 256]))
def test_the_scaled_base_slows_the_last_pair_by_the_factor(factor, head_size):
    base = formulas.rope_base_for(10_000, head_size, factor)
    slow = formulas.rope_longest_wavelength(base, head_size)
    assert slow == pytest.approx(factor * formulas.rope_longest_wavelength(10_000, head_size))
