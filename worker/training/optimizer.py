"""AdamW with the groups that the labs need."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter

from worker.training.config import TrainingConfig


def parameter_groups(named: Iterable[tuple[str, Parameter]], config: TrainingConfig) -> list[dict[str, Any]]:
    """Groups by learning rate and weight decay, of the parameters that require a gradient.

    LoRA+ gives the B matrices a higher rate than A. Decay is for matrices: norms and biases have one dimension.
    """
    groups: dict[tuple[float, float], list[Parameter]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            rate = config.learning_rate * (config.lora_plus_ratio if "lora_B" in name else 1)
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": found, "lr": rate, "weight_decay": decay} for (rate, decay), found in groups.items()]


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameter_groups(model.named_parameters(), config), lr=config.learning_rate)
