"""Loss on answer tokens, and its mean over a data set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import PreTrainedModel

from worker.training.examples import IGNORED, Batch, Example, collate, in_batches

EVALUATION_BATCH = 16  # as fast as larger ones on a CPU, and small in memory

Objective = Callable[[PreTrainedModel, Batch], Tensor]  # a mean over the batch's labels, in nats


@dataclass(frozen=True)
class Evaluation:
    loss: float  # mean over all answer tokens, in nats
    tokens: int


def answer_logits(model: PreTrainedModel, batch: Batch, **attention: Any) -> tuple[Tensor, Tensor]:
    """Logits at the label positions only, (N, V), and their labels, (N,).

    The output layer is the largest matrix of a small model: at 5 answer tokens of 24 it would cost five times as much
    on all positions. `model` is the causal model itself; PEFT adapters are inside it, in place. The attention of
    its layers is given `attention`.
    """
    decoder: nn.Module = getattr(model, model.base_model_prefix)
    hidden = decoder(
        input_ids=batch.tokens, position_ids=batch.positions, use_cache=False, **attention
    ).last_hidden_state
    wanted = batch.labels != IGNORED  # (B, T)
    # In float32 also where the model is not: a sum of 16-bit losses would lose most of its digits.
    return model.get_output_embeddings()(hidden[wanted]).float(), batch.labels[wanted]


def answer_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Mean cross-entropy per answer token."""
    return F.cross_entropy(*answer_logits(model, batch))


@torch.inference_mode()
def evaluate(model: PreTrainedModel, examples: Sequence[Example]) -> Evaluation:
    """Mean loss per answer token over all examples (not the mean of batch means), without dropout."""
    was_training = model.training
    model.eval()
    total, tokens = 0.0, 0
    # Rows of like length share a batch, so that little is spent on padding.
    for rows in in_batches(sorted(examples, key=lambda e: len(e.tokens)), EVALUATION_BATCH):
        logits, labels = answer_logits(model, collate(rows, str(model.device)))
        total += F.cross_entropy(logits, labels, reduction="sum").item()
        tokens += len(labels)
    model.train(was_training)
    return Evaluation(total / tokens, tokens)
