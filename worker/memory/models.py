"""From a recipe to a model that is ready to train: on the meta device, on fake tensors, or with real numbers."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from bitsandbytes.nn.modules import Linear4bit
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_utils import AttentionInterface

from labs.catalog.peft_zoo import MethodName
from labs.memory.recipe import FOUR_BIT, LORA_STARTS, QUANTISED, Recipe
from worker.memory.attention import flash_attention
from worker.memory.quantised import quantise_layers, to_eight_bit
from worker.methods.low_rank import lora_config
from worker.methods.setting import Attached, Setting
from worker.methods.table import ATTACH
from worker.quantisation import FourBit, to_four_bit
from worker.training.examples import Example

# Not one of transformers' own names, which would make it look for the package.
FLASH = "simulated"
AttentionInterface.register(FLASH, flash_attention)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# Methods that are switches of PEFT's LoRA configuration, and so take a choice of target modules.
SWITCHES: dict[MethodName, dict[str, Any]] = {"rslora": {"use_rslora": True}, "dora": {"use_dora": True}}
STEPS = 60  # of the training that AdaLoRA's schedule is for


def base_dtype(recipe: Recipe) -> torch.dtype:
    """Of what is not quantised; a quantised layer computes in it too."""
    return torch.bfloat16 if recipe.weights in QUANTISED else DTYPES[recipe.weights]


def layer_kinds(configuration: dict[str, Any]) -> list[str]:
    """What distinguishes the layers of a model: one name a layer."""
    config = AutoConfig.for_model(**configuration)
    return list(getattr(config, "layer_types", None) or ["layer"] * config.num_hidden_layers)


def meta_model(recipe: Recipe, layers: int, *, on_cuda: bool) -> PreTrainedModel:
    """The model with so many of its layers, without data, and its layers quantised where the recipe says so."""
    config = AutoConfig.for_model(**recipe.configuration)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    config.num_hidden_layers = layers
    attention = FLASH if recipe.attention == "flash" else recipe.attention
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=base_dtype(recipe), attn_implementation=attention)
    if recipe.weights in QUANTISED:
        quantise_layers(model, recipe, base_dtype(recipe), on_cuda=on_cuda)
    return model


def prepare(model: Any, recipe: Recipe, examples: Sequence[Example] = (), *, has_data: bool = False) -> Attached:
    """Upcast, put the method in, and turn checkpointing on; in place. What a method learns from data needs data."""
    model.requires_grad_(False)
    if recipe.upcast:
        upcast(model)
    attached = attach(model, recipe, examples, has_data=has_data)
    if recipe.adapter_dtype == "base":
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(base_dtype(recipe))
    if recipe.checkpointing != "none":
        is_reentrant = recipe.checkpointing == "reentrant"
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": is_reentrant})
        if is_reentrant and recipe.method != "full":
            model.enable_input_require_grads()
    model.train()
    return attached


def upcast(model: nn.Module) -> None:
    """What PEFT's prepare_model_for_kbit_training does besides freezing."""
    for parameter in model.parameters():
        if parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.to(torch.float32)


def attach(model: PreTrainedModel, recipe: Recipe, examples: Sequence[Example], *, has_data: bool) -> Attached:
    setting = Setting(recipe.rank, 2 * recipe.rank, STEPS, 0, examples)
    method = recipe.method
    if method in LORA_STARTS and not has_data:
        method = "rslora" if method == "rslora" else "lora"
    if method in (*SWITCHES, "lora"):
        config: Any = lora_config(setting, **SWITCHES.get(method, {}))
        if recipe.target_modules != "all-linear":
            config.target_modules = set(recipe.target_modules.split(","))
        adapted: PeftModel = get_peft_model(model, config, autocast_adapter_dtype=recipe.adapter_dtype == "float32")
        return Attached(adapted)
    attached = ATTACH[method](model, setting)  # type: ignore[index]
    for name, parameter in model.named_parameters():
        # AdaLoRA's current rank; PEFT forgets that it is frozen when it moves it to the base model's device.
        if "ranknum" in name:
            parameter.requires_grad_(False)
    return attached


# --- from the meta device to tensors ----------------------------------------------------------------------------------


def materialise(model: nn.Module, make: Callable[[Tensor], Tensor]) -> None:
    """Put a new tensor in the place of each parameter and buffer; what was shared stays shared."""
    made: dict[int, Any] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                if id(parameter) not in made:
                    made[id(parameter)] = nn.Parameter(make(parameter), parameter.requires_grad)
                module._parameters[name] = made[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                if id(buffer) not in made:
                    made[id(buffer)] = make(buffer)
                module._buffers[name] = made[id(buffer)]


def empty(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")


def real_model(recipe: Recipe, base: PreTrainedModel) -> PreTrainedModel:
    """A model with numbers in the recipe's format, from one in float32; in place."""
    model: Any = base
    for parameter in model.parameters():
        parameter.data = parameter.data.to(base_dtype(recipe))
    model.set_attn_implementation(recipe.attention)
    if recipe.weights in FOUR_BIT:
        to_four_bit(model, cast("FourBit", recipe.weights), double=recipe.double_quantisation)
    elif recipe.weights == "int8":
        to_eight_bit(model, recipe)
    return base


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Trained, and all; of a quantised matrix what it stands for."""
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    for module in model.modules():
        if isinstance(module, Linear4bit):
            total += module.in_features * module.out_features - module.weight.numel()
    return trainable, total
