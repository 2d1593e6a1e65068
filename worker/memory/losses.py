"""The loss over all positions in three ways that differ in memory alone."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from labs.memory.recipe import Loss
from worker.memory.tracker import StorageTracker
from worker.training.examples import IGNORED

CHUNK = 1024  # tokens


def model_loss(model: PreTrainedModel, tokens: Tensor, labels: Tensor, kind: Loss, tracker: StorageTracker) -> Tensor:
    """The mean cross-entropy of the next token. `full` is transformers' own."""
    if kind == "full":
        full: Tensor = model(input_ids=tokens, labels=labels, use_cache=False).loss
        return full
    decoder: nn.Module = getattr(model, model.base_model_prefix)
    hidden: Tensor = decoder(input_ids=tokens, use_cache=False).last_hidden_state
    tracker.begin_loss()
    targets = F.pad(labels, (0, 1), value=IGNORED)[:, 1:].reshape(-1)
    rows = hidden.reshape(-1, hidden.shape[-1])
    if kind == "fused":
        fused: Tensor = FusedCrossEntropy.apply(rows, model.get_output_embeddings().weight, targets)
        return fused
    return chunked_loss(model, rows, targets)


def chunked_loss(model: PreTrainedModel, rows: Tensor, targets: Tensor) -> Tensor:
    """Logits of a chunk at a time, computed again in the backward pass."""
    parts = [
        checkpoint(_part, model, some, wanted, use_reentrant=False)
        for some, wanted in zip(rows.split(CHUNK), targets.split(CHUNK), strict=True)
    ]
    return torch.stack(parts).sum() / (targets != IGNORED).sum()


def _part(model: Any, rows: Tensor, targets: Tensor) -> Tensor:
    logits = model.get_output_embeddings()(rows)
    cap = getattr(model.config, "final_logit_softcapping", None)
    if cap:
        logits = torch.tanh(logits / cap) * cap
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")


def fused_chunk(tokens: int, vocabulary: int, width: int) -> int:
    """Tokens a chunk, as Liger's fused linear cross-entropy chooses them: logits about as large as the hidden states.

    Liger-Kernel, src/liger_kernel/ops/fused_linear_cross_entropy.py.
    """
    return int(2 ** math.ceil(math.log2(math.ceil(tokens / math.ceil(vocabulary / width)))))


class FusedCrossEntropy(torch.autograd.Function):
    """Output layer and loss together: each chunk's logits become their own gradient in place, and that the rows'."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        if torch.is_autocast_enabled(rows.device.type):
            dtype = torch.get_autocast_dtype(rows.device.type)
            rows, weight = rows.to(dtype), weight.to(dtype)
        count = (targets != IGNORED).sum()
        loss = rows.new_zeros((), dtype=torch.float32)
        grad_rows = torch.zeros_like(rows)
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        chunk = fused_chunk(len(rows), *weight.shape)
        for begin in range(0, len(rows), chunk):
            part, wanted = rows[begin : begin + chunk], targets[begin : begin + chunk]
            logits = F.linear(part, weight)
            loss += _to_gradient(logits, wanted)
            logits /= count
            grad_rows[begin : begin + chunk] = logits @ weight
            if grad_weight is not None:
                grad_weight += logits.T @ part
            del logits
        ctx.save_for_backward(grad_rows, grad_weight)
        return loss / count

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor | None, None]:
        grad_rows, grad_weight = ctx.saved_tensors
        grad_rows *= gradients[0]
        if grad_weight is not None:
            grad_weight *= gradients[0]
        return grad_rows, grad_weight, None


def _to_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """Turn logits into probabilities minus one-hot targets, in place; returns the sum of the losses."""
    is_label = targets != IGNORED
    index = targets.clamp_min(0)[:, None]
    logits -= logits.logsumexp(dim=1, keepdim=True)
    loss = -(logits.gather(1, index)[:, 0].float() * is_label).sum()
    logits.exp_()
    logits.scatter_add_(1, index, -torch.ones_like(index, dtype=logits.dtype))
    logits *= is_label[:, None]
    return loss
