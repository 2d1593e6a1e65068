"""Handwritten digits and a small convolutional network for them, in the form that the shared training loop takes.

An image is 8 × 8 whole numbers from 0 to 16: sixty-four tokens, and its digit is the answer.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import PretrainedConfig, PreTrainedModel

from worker.training.examples import Batch, Example, collate

SIDE, LEVELS, CLASSES = 8, 16, 10
PIXELS = SIDE * SIDE


def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """Images (1797, 8, 8) and their digits (1797,): the test set of UCI's Optical Recognition of Handwritten Digits."""
    found = cast("Any", load_digits())
    return found.images.astype(int), found.target.astype(int)


def as_examples(images: np.ndarray, digits: np.ndarray) -> list[Example]:
    rows = zip(images.reshape(-1, PIXELS).tolist(), digits.tolist(), strict=True)
    return [Example((*pixels, digit), PIXELS) for pixels, digit in rows]


class DigitsConfig(PretrainedConfig):
    model_type = "digits"
    vocab_size = CLASSES
    channels = 32


class DigitsNet(PreTrainedModel):
    """Three 3 × 3 convolutions without biases, the largest value of each channel over the image, a linear layer."""

    config_class = DigitsConfig

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__(config)
        c = config.channels
        self.conv1 = nn.Conv2d(1, c, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(c, 2 * c, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(2 * c, 2 * c, 3, padding=1, bias=False)
        self.head = nn.Linear(2 * c, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 10) of images (B, 1, 8, 8)."""
        x = F.relu(self.conv1(images))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.conv3(x))
        logits: Tensor = self.head(x.amax(dim=(2, 3)))
        return logits


def digit_logits(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (B, 10) and digits (B,) of a batch of images."""
    images = batch.tokens[:, :PIXELS].view(-1, 1, SIDE, SIDE).to(model.dtype) / LEVELS
    return model(images), batch.labels[:, PIXELS - 1]


def digit_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Mean cross-entropy per image."""
    return F.cross_entropy(*digit_logits(model, batch))


@torch.inference_mode()
def evaluate_digits(model: PreTrainedModel, examples: Sequence[Example]) -> tuple[float, float]:
    """Mean loss in nats, and the share of wrong answers."""
    logits, digits = digit_logits(model, collate(examples, str(model.device)))
    wrong = (logits.argmax(-1) != digits).double().mean()
    return F.cross_entropy(logits, digits).item(), wrong.item()
