"""LoftQ (Li et al. 2023): a start for LoRA that makes up for what quantisation did to the base.

PEFT's own needs CUDA. The quantised base is kept as the float32 numbers that its 4-bit codes stand for: its losses are
those of a 4-bit base, its memory is not.
"""

from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from worker.methods.setting import ALL_LINEAR, Attached, Setting, adapt
from worker.quantisation import four_bit_block, quantise

ITERATIONS = 1  # PEFT's default
ADAPTER = "default"


def attach_loftq(model: PreTrainedModel, setting: Setting) -> Attached:
    config = LoraConfig(task_type="CAUSAL_LM", r=setting.rank, lora_alpha=setting.alpha, target_modules=ALL_LINEAR)
    adapted = adapt(model, config, setting.seed)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            _start(module, setting)
    return Attached(adapted)


@torch.no_grad()
def _start(layer: Any, setting: Setting) -> None:
    weight = layer.get_base_layer().weight
    base, b, a = loftq(weight, setting.rank, ITERATIONS)
    weight.copy_(base)
    layer.lora_A[ADAPTER].weight.copy_(a)
    layer.lora_B[ADAPTER].weight.copy_(b / setting.scale)


def loftq(weight: Tensor, rank: int, iterations: int) -> tuple[Tensor, Tensor, Tensor]:
    """Q (out, in), B (out, r), A (r, in) with Q + BA near the weight (algorithm 1 of the paper).

    In turns: quantise what BA leaves of the weight, and take the best BA for what Q leaves of it.
    """
    update = torch.zeros_like(weight)
    for _ in range(iterations):
        base = quantise(weight - update, "nf4", four_bit_block(weight.shape[1]), double=False).weight
        left, values, right = torch.svd_lowrank(weight - base, q=min(4 * rank, *weight.shape), niter=4)
        root = values[:rank].sqrt()
        b, a = left[:, :rank] * root, (right[:, :rank] * root).T
        update = b @ a
    return base, b, a
