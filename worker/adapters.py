"""LoRA adapters by PEFT, as the labs use them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch.nn import Parameter
from transformers import PreTrainedModel

ADAPTER_FILE = "adapter_model.safetensors"


@dataclass(frozen=True)
class Adapter:
    """What decides an adapter before training. `target_modules` is "all-linear" or names joined by commas."""

    rank: int
    alpha: float  # PEFT asks for a whole number and takes any; a scale that follows a root needs others
    target_modules: str
    seed: int  # of A's random initialisation; B starts at zero
    use_rslora: bool = False  # divide alpha by the root of the rank (Kalajdzievski 2023)
    dropout: float = 0.0  # of the input of A, while training

    @property
    def scale(self) -> float:
        """What B A x is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.use_rslora else self.rank)


def add_adapter(base: PreTrainedModel, adapter: Adapter) -> PeftModel:
    """Put a fresh adapter into the base model, in place; `unload()` of the result takes it out again."""
    torch.manual_seed(adapter.seed)
    names = adapter.target_modules
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=adapter.rank,
        lora_alpha=adapter.alpha,  # type: ignore[arg-type]
        target_modules=names if names == "all-linear" else names.split(","),
        use_rslora=adapter.use_rslora,
        lora_dropout=adapter.dropout,
    )
    return get_peft_model(base, config)


def adapter_weights(model: PeftModel) -> dict[str, tuple[Parameter, Parameter]]:
    """A (r, in) and B (out, r) of each adapted module, by its name in the base model."""
    base: Any = model.get_base_model()
    layers: dict[str, Any] = {name: module for name, module in base.named_modules() if isinstance(module, LoraLayer)}
    active = model.active_adapter
    return {name: (layer.lora_A[active].weight, layer.lora_B[active].weight) for name, layer in layers.items()}


def trainable_parameters(model: PeftModel) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def save_adapter(model: PeftModel, folder: Path) -> Path:
    """Save the adapter; returns the path of its weights. No lookup on a hub for changed embeddings: there are none."""
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return folder / ADAPTER_FILE
