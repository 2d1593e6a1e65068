"""Block formats against bitsandbytes and against sums by hand, and models with 4-bit layers."""

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from bitsandbytes.nn import Linear4bit

from worker.models.tiny import tiny_model
from worker.quantisation import (
    dequantised,
    four_bit_block,
    from_four_bit,
    layer_linears,
    levels,
    model_tensors,
    quantise,
    state_tensors,
    stored_bytes,
    to_four_bit,
)

TOKENS = torch.arange(40)[None]


def random_weight(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("form", ["nf4", "fp4"])
@pytest.mark.parametrize("block", [32, 64, 128])
@pytest.mark.parametrize("double", [False, True])
def test_a_round_trip_is_that_of_bitsandbytes(form, block, double):
    weight = random_weight(48, 128)
    packed, state = quantize_4bit(weight, blocksize=block, quant_type=form, compress_statistics=double)
    ours = quantise(weight, form, block, double=double)
    assert torch.equal(ours.weight, dequantize_4bit(packed, state))
    assert stored_bytes(ours.stored) == stored_bytes([packed, *state_tensors(state)])


def test_integers_round_to_steps_of_a_seventh():
    weight = torch.tensor([[7.0, -7.0, 0.4, 0.6, -3.4, 2.5], [14.0, 1.2, 0.0, 0.0, 0.0, 0.0]])
    ours = quantise(weight, "int4", 6, double=False)
    assert ours.weight.tolist() == [[7, -7, 0, 1, -3, 2], [14, 2, 0, 0, 0, 0]]
    # 12 codes of four bits, two constants, fifteen levels
    assert stored_bytes(ours.stored) == 6 + 8 + 60


def test_eight_bits_err_by_at_most_half_a_step():
    weight = random_weight(16, 64)
    error = (quantise(weight, "int8", 64, double=False).weight - weight).abs()
    assert (error <= weight.abs().amax(dim=1, keepdim=True) / 254 * 1.0001).all()


def test_a_last_block_may_be_shorter():
    weight = random_weight(3, 5)
    whole = quantise(weight, "nf4", 15, double=False)
    assert torch.equal(quantise(weight, "nf4", 64, double=False).weight, whole.weight)


def test_integer_levels_are_symmetric():
    assert levels("int4").tolist() == pytest.approx([n / 7 for n in range(-7, 8)])
    assert len(levels("int8")) == 255


def test_a_four_bit_model_computes_with_what_the_format_gives_back():
    model = to_four_bit(tiny_model().eval())
    copy = tiny_model().eval()
    for _, _, linear in layer_linears(copy):
        linear.weight.data = quantise(linear.weight.data, "nf4", four_bit_block(linear.in_features), double=True).weight
    with torch.inference_mode():
        logits = model(TOKENS).logits
        assert torch.allclose(logits, copy(TOKENS).logits, atol=1e-6)
        assert torch.equal(from_four_bit(model, torch.float32)(TOKENS).logits, logits)
    assert not any(isinstance(module, Linear4bit) for module in model.modules())


def test_evaluation_leaves_the_codes_readable():
    """bitsandbytes would repack them on some processors; see to_four_bit."""
    model = to_four_bit(tiny_model().eval())
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    assert len(layers) == 2 * 7
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
    before = [dequantised(layer) for layer in layers]
    with torch.inference_mode():
        model(TOKENS)
    assert all(torch.equal(dequantised(layer), old) for layer, old in zip(layers, before, strict=True))


def test_the_gradient_passes_the_frozen_weight():
    layer = next(m for m in to_four_bit(tiny_model()).modules() if isinstance(m, Linear4bit))
    inputs, incoming = random_weight(5, 32).requires_grad_(), random_weight(5, 32)
    layer(inputs).backward(incoming)
    assert torch.allclose(inputs.grad, incoming @ dequantised(layer), atol=1e-6)
    assert layer.weight.grad is None


def test_a_block_does_not_reach_into_the_next_row():
    assert [four_bit_block(width) for width in (64, 576, 96)] == [64, 64, 32]
    with pytest.raises(ValueError, match="Invalid width of a 4-bit layer: 40"):
        four_bit_block(40)


def test_the_constants_of_a_four_bit_model_count():
    model = to_four_bit(tiny_model(), double=False)
    linear = 2 * (32 * 32 + 32 * 16 + 32 * 16 + 32 * 32 + 3 * 32 * 64)
    # Rows of 32 weights make blocks of 32, those of the last matrix of an MLP (64 wide) blocks of 64; a table each.
    blocks = (linear - 2 * 32 * 64) // 32 + 2 * 32 * 64 // 64
    rest = 4 * (258 * 32 + 5 * 32) + sum(4 * b.numel() for b in model.buffers())
    assert stored_bytes(model_tensors(model)) == linear // 2 + 4 * blocks + 14 * 64 + rest
