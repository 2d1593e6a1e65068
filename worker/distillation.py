"""Training a model to give another one's next-token distributions, and how far it is from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import PreTrainedModel

from worker.training.examples import Batch, Example, collate, in_batches
from worker.training.loss import Objective, answer_logits

COMPARISON_BATCH = 4  # rows of running text, whose every token has logits: 90 MB for 400 tokens of SmolLM2


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher ‖ student) in nats, summed over positions; both are logits, (N, V)."""
    return F.kl_div(student.log_softmax(dim=-1), teacher.log_softmax(dim=-1), log_target=True, reduction="sum")


def distillation_loss(teacher: PreTrainedModel) -> Objective:
    """The mean divergence from that teacher at the label positions; what the labels are does not matter."""

    def loss(model: PreTrainedModel, batch: Batch) -> Tensor:
        with torch.no_grad():
            wanted, _ = answer_logits(teacher, batch)
        found, labels = answer_logits(model, batch)
        return divergence(found, wanted) / len(labels)

    return loss


@dataclass(frozen=True)
class Comparison:
    """Of a student with its teacher and with the text itself: means per label token, in nats."""

    divergence: float
    loss: float
    tokens: int


@torch.inference_mode()
def compare(student: PreTrainedModel, teacher: PreTrainedModel, examples: Sequence[Example]) -> Comparison:
    """Without dropout, over all examples."""
    was_training = student.training
    student.eval()
    apart, loss, tokens = 0.0, 0.0, 0
    for rows in in_batches(sorted(examples, key=lambda e: len(e.tokens)), COMPARISON_BATCH):
        batch = collate(rows, str(student.device))
        found, labels = answer_logits(student, batch)
        apart += divergence(found, answer_logits(teacher, batch)[0]).item()
        loss += F.cross_entropy(found, labels, reduction="sum").item()
        tokens += len(labels)
    student.train(was_training)
    return Comparison(apart / tokens, loss / tokens, tokens)
