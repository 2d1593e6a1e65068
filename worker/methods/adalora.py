"""AdaLoRA (Zhang et al. 2023) by PEFT: what a training loop has to do for it."""

from typing import Any

import torch
from peft import AdaLoraConfig
from peft.tuners.adalora.layer import AdaLoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from labs.catalog.peft_zoo import adalora_start_rank
from worker.methods.setting import ALL_LINEAR, Attached, Setting, adapt
from worker.training.examples import Batch
from worker.training.loss import answer_loss

ADAPTER = "default"
ORTHOGONALITY = 0.5  # PEFT's default

Place = tuple[int, str]  # layer and projection


def attach_adalora(model: PreTrainedModel, setting: Setting) -> Attached:
    """From one and a half times the rank down to the rank on average, between a sixth and two thirds of the steps."""
    config = AdaLoraConfig(
        task_type="CAUSAL_LM",
        init_r=adalora_start_rank(setting.rank),
        target_r=setting.rank,
        lora_alpha=setting.alpha,
        target_modules=ALL_LINEAR,
        tinit=setting.steps // 6,
        tfinal=setting.steps // 3,
        total_step=setting.steps,
    )
    adapted = adapt(model, config, setting.seed)
    tuner: Any = adapted.base_model
    return Attached(
        adapted,
        Penalty(ORTHOGONALITY),
        after_update=lambda step, _loss: tuner.update_and_allocate(step + 1),
        reset=tuner.rankallocator.reset_ipt,
    )


class Penalty:
    """The loss on answers plus what PEFT adds in a forward pass that the shared loop does not use.

    weight · the mean over all P and Q of ‖QQᵀ − I‖ (Frobenius), Q with one vector a row and P with one a column.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.value = 0.0  # of the last batch

    def __call__(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        penalty = self.of(model)
        self.value = penalty.item()
        return answer_loss(model, batch) + penalty

    def of(self, model: PreTrainedModel) -> Tensor:
        distances = [
            (vectors @ vectors.T - torch.eye(len(vectors), device=vectors.device)).norm()
            for layer in adalora_layers(model).values()
            for vectors in (layer.lora_A[ADAPTER], layer.lora_B[ADAPTER].T)
        ]
        return self.weight * torch.stack(distances).mean()


def adalora_layers(model: PreTrainedModel) -> dict[Place, Any]:
    """The adapted layers by their place in the model."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, AdaLoraLayer):
            parts = name.split(".")
            found[next(int(part) for part in parts if part.isdigit()), parts[-1]] = module
    return found
