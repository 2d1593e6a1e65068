"""The counter of live tensors, against sizes that are known."""

import pytest
import torch
from torch import nn

from worker.training.memory import PeakMemory

MEGABYTE = 250_000  # float32 numbers


def test_it_counts_what_is_alive_at_once():
    with PeakMemory([]) as memory:
        a = torch.zeros(MEGABYTE)
        b = a + 1
        del a
        c = b + 1
        del b, c
    assert memory.peak == 2e6
    assert memory.bytes == 0


def test_views_and_changes_in_place_cost_nothing():
    with PeakMemory([]) as memory:
        a = torch.zeros(MEGABYTE)
        a.view(500, 500).t().add_(1)
    assert memory.peak == 1e6


def test_shared_tensors_that_were_there_count_once():
    layer = nn.Linear(500, 500, bias=False)
    with PeakMemory([layer.weight, layer.weight.t()]) as memory:
        pass
    assert memory.peak == 1e6


@pytest.mark.parametrize(("trains", "expected"), [(True, 4), (False, 1)])
def test_a_step_of_adam_needs_gradient_and_two_moments_of_what_it_trains(trains, expected):
    """Weight, gradient and two moments of a megabyte each, on top of which only a little."""
    layer = nn.Linear(500, 500, bias=False).requires_grad_(trains)
    bias = nn.Parameter(torch.zeros(500))
    optimizer = torch.optim.AdamW([p for p in (layer.weight, bias) if p.requires_grad], foreach=False)
    with PeakMemory([layer.weight, bias]) as memory:
        for _ in range(2):
            (layer(torch.ones(1, 500)) + bias).sum().backward()
            optimizer.step()
    assert memory.bytes / 1e6 == pytest.approx(expected, abs=0.02)
    assert memory.peak >= memory.bytes
