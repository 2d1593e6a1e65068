"""Chunked and fused loss are the full loss: the same value and the same gradients."""

import pytest
import torch

from worker.memory.losses import fused_chunk, model_loss
from worker.memory.tracker import StorageTracker
from worker.training.examples import IGNORED


def loss_and_gradients(model, kind):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 256, (2, 24), generator=generator)
    labels = tokens.clone()
    labels[0, :5] = IGNORED
    model.zero_grad()
    loss = model_loss(model, tokens, labels, kind, StorageTracker(model))
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("kind", ["chunked", "fused"])
def test_it_is_the_same_loss(small_model, kind, monkeypatch):
    monkeypatch.setattr("worker.memory.losses.CHUNK", 7)
    expected, gradients = loss_and_gradients(small_model, "full")
    found, found_gradients = loss_and_gradients(small_model, kind)
    assert found == pytest.approx(expected, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(found_gradients[name], gradient, rtol=1e-4, atol=1e-6)


def test_the_fused_loss_takes_ligers_chunks():
    assert fused_chunk(4096, 32000, 4096) == 512
    assert fused_chunk(512, 32000, 4096) == 64
    assert fused_chunk(8, 100, 100) == 8
