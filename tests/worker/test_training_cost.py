"""Counted operations, against a count of the whole batch and against the arithmetic of matrices."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from worker.adapters import Adapter, add_adapter
from worker.models.tiny import tiny_model
from worker.training.cost import Flops, measure_flops, peak_flops_per_second, total_flops
from worker.training.examples import Example, Shape, collate
from worker.training.loss import answer_loss

EXAMPLES = [Example(tuple(range(1, 20)), 12), Example(tuple(range(30, 45)), 3)]
ALL_LINEAR = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)  # weights of both layers


def adapted():
    model = tiny_model()
    add_adapter(model, Adapter(rank=4, alpha=8, target_modules="all-linear", seed=0))
    return model


@pytest.mark.parametrize("make", [tiny_model, adapted])
def test_the_formula_gives_what_a_real_batch_takes(make):
    model = make()
    batch = collate(EXAMPLES)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        answer_loss(model, batch).backward()
    assert measure_flops(model).of(batch.shape) == counter.get_total_flops()


def test_full_training_takes_six_operations_a_weight_and_token():
    flops = measure_flops(tiny_model())
    # The attention's own products depend on T²; there is nothing else a token but the layers' matrices.
    assert flops.linear == 6 * ALL_LINEAR
    assert flops.label == 6 * 32 * 258
    assert flops.fixed == 0
    assert flops.quadratic == 2 * 2 * 6 * 32  # layers · products · (forward and twice backward, 2 each) · width


def test_an_adapter_takes_four_and_its_own_six():
    flops, lora = measure_flops(adapted()), 4 * 2 * ((32 + 32) * 2 + (32 + 16) * 2 + 3 * (32 + 64))
    # The first layer's q, k and v need no gradient for their input, which is the frozen embedding: A's neither.
    spared = 2 * (32 * 32 + 2 * 32 * 16) + 2 * 3 * 32 * 4
    assert flops.linear == 4 * ALL_LINEAR + 6 * lora - spared


def test_counting_leaves_no_trace():
    model = adapted()
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    measure_flops(model)
    assert torch.equal(torch.rand(1), expected)
    assert all(p.grad is None for p in model.parameters())


def test_steps_add_up():
    flops = Flops(fixed=1, linear=10, quadratic=2, label=100)
    assert total_flops(flops, [[Shape(2, 3, 5, 4)], [Shape(1, 1, 1, 1), Shape(1, 2, 2, 1)]]) == 498 + 113 + 129


def test_the_machine_does_something():
    assert peak_flops_per_second(rounds=2) > 1e8
