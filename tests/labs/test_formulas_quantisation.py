"""Quantisation formulas against hand arithmetic, published formats and torch's own floating-point spacing."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labs.formulas import quantisation as formulas


@pytest.mark.parametrize(
    ("element", "block", "scale", "zero", "bits"),
    [
        (4, 64, 32, 0, 4.5),  # NF4 with fp32 constants
        (4, 32, 8, 0, 4.25),  # MXFP4: one power-of-two scale for 32 values
        (4, 16, 8, 0, 4.5),  # NVFP4: one FP8 scale for 16 values
        (4, 128, 16, 4, 4.15625),  # GPTQ and AWQ: fp16 scale and 4-bit zero point for 128 weights
    ],
)
def test_block_format_bits(element, block, scale, zero, bits):
    assert formulas.block_format_bits(element, block, scale, zero) == bits


def test_constants_of_a_7b_model():
    # 224 matrices: 32 blocks of 4 x 4096² and 3 x 4096·11008 weights, 4 bytes for 64 of them
    weights = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert formulas.constants_size("llama-7b") == weights / 16
    # double quantisation: one byte for 64 weights and 4 bytes for 64 · 256
    assert formulas.constants_size("llama-7b", double_quantisation=True) == pytest.approx(weights / 64 + weights / 4096)


def test_block_base_size_counts_embeddings_in_16_bits():
    rest = 2 * 32_000 * 4096 + 65 * 4096
    assert formulas.block_base_size("llama-7b", 4.0) == 6_476_005_376 / 2 + 2 * rest
    assert formulas.nf4_naive_size("llama-7b", "B") == 6_738_415_616 / 2
    assert formulas.compression_against_16_bits("llama-7b", 16.0) == pytest.approx(1)


def test_nf4_levels_are_the_published_quantiles():
    # QLoRA's code: quantiles at evenly spaced probabilities, eight below and nine above zero, scaled to one
    normal = torch.distributions.Normal(0.0, 1.0)
    offset = (1 - 1 / 30 + 1 - 1 / 32) / 2
    positive = normal.icdf(torch.linspace(offset, 0.5, 9, dtype=torch.float64))[:-1]
    negative = -normal.icdf(torch.linspace(offset, 0.5, 8, dtype=torch.float64))[:-1]
    levels = torch.cat([negative, torch.zeros(1, dtype=torch.float64), positive.flip(0)]) / positive[0]
    assert torch.allclose(levels, torch.tensor(formulas.NF4_LEVELS, dtype=torch.float64), atol=1e-6)


def test_nf4_rounding_picks_the_nearest_level():
    assert formulas.nf4_round(0.05, 0.1) == pytest.approx(0.1 * 0.44070982933044434)
    assert formulas.nf4_round(-0.1, 0.1) == pytest.approx(-0.1)
    assert formulas.nf4_level(0.001, 0.1) == 0
    assert formulas.int4_round(0.05, 0.1) == pytest.approx(0.1 * 4 / 7)


def test_nf4_steps_are_narrow_near_zero_and_wide_at_the_ends():
    assert formulas.nf4_step(1.0) == pytest.approx(0.0796, abs=1e-4)
    assert formulas.nf4_step(1.0, narrowest=False) == pytest.approx(0.3038, abs=1e-4)


@given(value=st.floats(min_value=1e-3, max_value=1e3), name=st.sampled_from(["fp32", "fp16", "bf16"]))
def test_float_spacing_is_the_distance_to_the_next_number(value, name):
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]
    number = torch.tensor(value, dtype=dtype)
    following = number + torch.tensor(formulas.float_spacing(float(number), name), dtype=dtype)
    assert torch.nextafter(number, torch.tensor(math.inf, dtype=dtype)) == following


def test_fraction_bits():
    assert [formulas.fraction_bits(name) for name in ("fp32", "fp16", "bf16")] == [23, 10, 7]


def test_code_entropy():
    assert formulas.code_entropy(",".join(["4"] * 16)) == 4
    assert formulas.code_entropy("8,4,2,2") == 1.75
    assert formulas.code_entropy("16,0") == 0


def test_normal_shares():
    assert formulas.normal_share(-1, 1) == pytest.approx(0.6827, abs=1e-4)
    assert formulas.equal_steps_tail_share(16, 4) == pytest.approx(100 * (1 - 0.9545), abs=0.01)
    with pytest.raises(ValueError, match="even"):
        formulas.equal_steps_tail_share(15, 4)


def test_unknown_precision_names_the_known_ones():
    with pytest.raises(ValueError, match="known: fp32, fp16, bf16"):
        formulas.float_spacing(1.0, "int8")


@given(absmax=st.floats(min_value=1.5, max_value=5))
def test_nf4_code_shares_add_up_and_carry_less_than_four_bits(absmax):
    shares = [formulas.nf4_code_share_percent(level, absmax) for level in range(16)]
    assert sum(shares) == pytest.approx(100)
    assert formulas.nf4_code_entropy(absmax) < 4


def test_nf4_code_shares_against_a_sample():
    weights = torch.randn(400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    distances = (weights[:, None] / 2.5 - torch.tensor(formulas.NF4_LEVELS, dtype=torch.float64)).abs()
    counts = torch.bincount(distances.argmin(dim=1), minlength=16) / 4_000
    expected = [formulas.nf4_code_share_percent(level, 2.5) for level in range(16)]
    assert counts.tolist() == pytest.approx(expected, abs=0.15)


def test_qlora_saving_shrinks_with_activations():
    # LoRA: 13.4768 + 12 bytes · 39,976,960; QLoRA: 3.8656 + the same
    adapter = 12 * 39_976_960 / 1e9
    expected = 100 * (1 - (3.865591808 + adapter) / (13.476831232 + adapter))
    assert formulas.qlora_saving_percent("llama-7b", "all-linear", 16) == pytest.approx(expected)
    assert formulas.qlora_saving_percent("llama-7b", "all-linear", 16, 10.0) < expected - 20
