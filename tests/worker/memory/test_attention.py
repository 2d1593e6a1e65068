"""What a GPU's attention keeps and makes, worked out by hand from shapes."""

import pytest
import torch

from worker.memory.attention import cuda_attention, cuda_kernel
from worker.memory.fake import fake_tensors
from worker.memory.tracker import StorageTracker

B, H, T, D = 2, 4, 32, 16


@pytest.mark.parametrize(
    ("dtype", "width", "asked", "kernel"),
    [
        (torch.bfloat16, 64, {"has_mask": False, "is_grouped": True}, "flash"),
        (torch.bfloat16, 64, {"has_mask": True, "is_grouped": False}, "efficient"),
        (torch.float32, 64, {"has_mask": False, "is_grouped": False}, "efficient"),
        (torch.float32, 64, {"has_mask": False, "is_grouped": True}, "math"),
        (torch.bfloat16, 512, {"has_mask": False, "is_grouped": False}, "math"),
    ],
)
def test_the_kernel_follows_from_format_mask_and_heads(dtype, width, asked, kernel):
    assert cuda_kernel(torch.empty(1, 1, 1, width, dtype=dtype), **asked) == kernel


def made_by(dtype: torch.dtype, key_heads: int = H) -> tuple[list[int], list[int]]:
    """Sizes of what forward and backward pass of one attention make."""
    with fake_tensors(on_cuda=True), StorageTracker(torch.nn.Module()) as tracker:
        query = torch.empty(B, H, T, D, dtype=dtype, requires_grad=True)
        key, value = (torch.empty(B, key_heads, T, D, dtype=dtype, requires_grad=True) for _ in range(2))
        with tracker.during("forward"):
            out = cuda_attention(query, key, value, is_causal=True, enable_gqa=key_heads != H)
        with tracker.during("backward"):
            out.backward(torch.empty_like(out))
        sizes = {phase: [a.size for a in tracker.record.allocations if a.phase == phase] for phase in PHASES}
    return sizes["forward"], sizes["backward"][1:]  # without the gradient that was put in


PHASES = ("forward", "backward")


def test_flash_keeps_output_logsumexp_and_random_state():
    forward, backward = made_by(torch.bfloat16)
    assert forward == [B * T * H * D * 2, B * H * T * 4, 16, 8]
    grads, sums, accumulated = 3 * [B * H * T * D * 2], B * H * 128 * 4, B * 128 * H * 32 * 4
    assert backward == [*grads, sums, accumulated]


def test_grouped_keys_get_a_gradient_for_each_head_first():
    _, backward = made_by(torch.bfloat16, key_heads=2)
    assert backward[:3] == [B * H * T * D * 2, B * 2 * T * D * 2, B * 2 * T * D * 2]
    assert backward[-2:] == 2 * [B * T * H * D * 2]


def test_the_efficient_kernel_pads_the_logsumexp():
    forward, backward = made_by(torch.float32)
    assert forward == [B * T * H * D * 4, B * H * 32 * 4, 8, 8]
    assert backward == [*3 * [B * H * T * D * 4], B * H * T * 4]


def test_queries_and_keys_of_different_formats_are_refused():
    query, key = torch.empty(1, 1, 2, 8, dtype=torch.bfloat16), torch.empty(1, 1, 2, 8)
    with pytest.raises(RuntimeError, match=r"bfloat16 queries, torch\.float32 keys"):
        cuda_attention(query, key, key)
