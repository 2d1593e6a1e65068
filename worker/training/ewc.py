"""Elastic weight consolidation: a spring on every weight, as stiff as an earlier task needs it.

Kirkpatrick et al. 2016. The Fisher information is the empirical one, on the earlier task's own answers. It is counted
per answer token, as the losses are, so that a strength of 1 stands for the earlier task's loss itself, to second order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter
from transformers import PreTrainedModel

from worker.training.examples import Batch, Example, collate
from worker.training.loss import answer_loss


@dataclass(frozen=True)
class Anchor:
    """One trained tensor: where the earlier task left it, and how much that task's loss minds its moving."""

    parameter: Parameter
    place: Tensor
    fisher: Tensor


def make_anchors(model: PreTrainedModel, examples: Sequence[Example]) -> list[Anchor]:
    """Of all parameters that require a gradient, as they are now: F = Σ (∇ log p(answer))² / answer tokens."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fishers = [torch.zeros_like(parameter) for parameter in trained]
    tokens = 0
    for example in examples:
        batch = collate([example], str(model.device))
        labels = batch.shape.labels
        # The square of a sum over the answer, not of its mean: the answer's tokens are one observation.
        gradients = torch.autograd.grad(answer_loss(model, batch) * labels, trained)
        for fisher, gradient in zip(fishers, gradients, strict=True):
            fisher.add_(gradient.square())
        tokens += labels
    return [Anchor(p, p.detach().clone(), fisher / tokens) for p, fisher in zip(trained, fishers, strict=True)]


def penalty(anchors: Sequence[Anchor]) -> Tensor:
    """½ Σ F (θ − θ*)²"""
    return 0.5 * torch.stack([(a.fisher * (a.parameter - a.place).square()).sum() for a in anchors]).sum()


@dataclass(frozen=True)
class AnchoredLoss:
    """An objective for the training loop: the new task's loss with the springs."""

    anchors: Sequence[Anchor]
    strength: float

    def __call__(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        return answer_loss(model, batch) + self.strength * penalty(self.anchors)
