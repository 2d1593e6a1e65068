"""LoRA: parameter counts, bytes, bits and FLOPs.

Every function is pure, and every argument is an int, a float or a string, so that a claim can name it with JSON.
Models are named by a key of MODELS, targets are module names joined by commas (`q_proj,v_proj`) or `all-linear`.
"""

import math
from collections.abc import Callable

from labs.memory import architectures
from labs.memory.shapes import ModelShape

ALL_LINEAR = "all-linear"
BYTES_PER_VALUE = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
BYTES_PER_UNIT = {"B": 1, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15, "MiB": 2**20, "GiB": 2**30}


# The shipped architectures, but for mixtures of experts, whose MLPs are no linear layers that an adapter could sit on.
MODELS: dict[str, ModelShape] = {
    name: shape
    for name in architectures.NAMES
    if not (shape := architectures.shape(architectures.architecture(name))).experts
}
# released configuration
MODELS["gemma-2b"] = ModelShape(18, 2048, 16384, 8, 1, 256, 256000, True)
# The name that content uses.
MODELS["gpt3-175b"] = MODELS["gpt-3-175b"]


def model_shape(model: str) -> ModelShape:
    """The shape of a model in MODELS; ValueError names the known ones."""
    if model not in MODELS:
        raise ValueError(f"Unknown model {model!r}; known: {', '.join(MODELS)}")
    return MODELS[model]


def target_shapes(model: str, targets: str) -> list[tuple[int, int]]:
    """(d_out, d_in) of the linear layers that `targets` stands for; ValueError where the model lacks one."""
    layers = model_shape(model).linear_layers()
    names = list(layers) if targets == ALL_LINEAR else targets.split(",")
    for name in names:
        if name not in layers:
            raise ValueError(f"Model {model} has no linear layer {name!r}; it has {', '.join(layers)}")
    return [layers[name] for name in names]


def in_unit(size: float, unit: str) -> float:
    """A number of bytes in `unit`: MB = 10**6 bytes, MiB = 2**20 bytes."""
    if unit not in BYTES_PER_UNIT:
        raise ValueError(f"Unknown unit {unit!r}; known: {', '.join(BYTES_PER_UNIT)}")
    return size / BYTES_PER_UNIT[unit]


def bytes_per_value(precision: str) -> int:
    """Bytes of one number in fp32, bf16, fp16 or int8."""
    if precision not in BYTES_PER_VALUE:
        raise ValueError(f"Unknown precision {precision!r}; known: {', '.join(BYTES_PER_VALUE)}")
    return BYTES_PER_VALUE[precision]


# Parameters


def layer_parameters(d_in: int, d_out: int) -> int:
    """Weights of a linear layer d_in -> d_out without bias."""
    return d_in * d_out


def lora_layer_parameters(d_in: int, d_out: int, rank: int) -> int:
    """Parameters of A (rank x d_in) and B (d_out x rank): Hu et al. 2021, section 4.1."""
    return rank * (d_in + d_out)


def lora_layer_reduction(d_in: int, d_out: int, rank: int) -> float:
    """How many times fewer parameters LoRA trains in one layer than full fine-tuning."""
    return layer_parameters(d_in, d_out) / lora_layer_parameters(d_in, d_out, rank)


def linear_parameters(model: str, targets: str = ALL_LINEAR) -> int:
    """Weights of the target layers in all blocks, without biases."""
    per_block = sum(layer_parameters(d_in, d_out) for d_out, d_in in target_shapes(model, targets))
    return model_shape(model).layers * per_block


def model_parameters(model: str) -> int:
    """All parameters: embeddings, blocks, norms, and the output head unless it is tied."""
    return model_shape(model).parameters()


def lora_parameters(model: str, targets: str, rank: int) -> int:
    """Trainable parameters of a LoRA of `rank` on `targets` in all blocks."""
    per_block = sum(lora_layer_parameters(d_in, d_out, rank) for d_out, d_in in target_shapes(model, targets))
    return model_shape(model).layers * per_block


def lora_share_percent(model: str, targets: str, rank: int) -> float:
    """Trainable parameters in percent of the base model's parameters."""
    return 100 * lora_parameters(model, targets, rank) / model_parameters(model)


def lora_reduction(model: str, targets: str, rank: int) -> float:
    """How many times fewer parameters LoRA trains in a whole model than full fine-tuning."""
    return model_parameters(model) / lora_parameters(model, targets, rank)


def targets_share_percent(model: str, targets: str, rank: int) -> float:
    """The part of an all-linear LoRA's parameters that sits on `targets`, in percent."""
    return 100 * lora_parameters(model, targets, rank) / lora_parameters(model, ALL_LINEAR, rank)


# Scaling and initialisation


def lora_scale(rank: int, alpha: float, rule: str = "standard") -> float:
    """The factor before BA: `standard` alpha/r (Hu et al. 2021, 4.1), `rslora` alpha/sqrt(r) (Kalajdzievski 2023)."""
    if rule == "standard":
        return alpha / rank
    if rule == "rslora":
        return alpha / math.sqrt(rank)
    raise ValueError(f"Unknown scaling rule {rule!r}; known: standard, rslora")


def kaiming_uniform_bound(fan_in: int, negative_slope: float) -> float:
    """Half the width of PyTorch's `kaiming_uniform_`: sqrt(6 / ((1 + a^2) fan_in)) for slope a (He et al. 2015)."""
    return math.sqrt(6 / ((1 + negative_slope**2) * fan_in))


def kaiming_bound_ratio(negative_slope: float, reference_slope: float) -> float:
    """How many times wider the initialisation with one slope is than with another, at the same fan-in."""
    return kaiming_uniform_bound(1, negative_slope) / kaiming_uniform_bound(1, reference_slope)


# Storage


def weight_size(model: str, precision: str, unit: str = "B") -> float:
    """Size of all weights in one precision."""
    return in_unit(model_parameters(model) * bytes_per_value(precision), unit)


def adapter_size(model: str, targets: str, rank: int, precision: str, unit: str = "B") -> float:
    """Size of A and B in a file, without the file's header."""
    return in_unit(lora_parameters(model, targets, rank) * bytes_per_value(precision), unit)


def full_storage(model: str, tasks: int, precision: str, unit: str = "B") -> float:
    """Storage of one whole model a task."""
    return tasks * weight_size(model, precision, unit)


def lora_storage(model: str, targets: str, rank: int, tasks: int, precision: str, *, unit: str = "B") -> float:
    """Storage of one base model and one adapter a task, all in one precision."""
    return weight_size(model, precision, unit) + tasks * adapter_size(model, targets, rank, precision, unit)


def storage_saving_percent(model: str, targets: str, rank: int, tasks: int, precision: str) -> float:
    """What sharing one base saves against one whole model a task, in percent."""
    shared = lora_storage(model, targets, rank, tasks, precision)
    return 100 * (1 - shared / full_storage(model, tasks, precision))


# Quantisation


def nf4_bits_per_parameter(double_quantisation: bool, block: int = 64, second_block: int = 256) -> float:
    """Bits a weight costs in NF4 with its constants (Dettmers et al. 2023, section 3).

    One fp32 constant for `block` weights; double quantisation makes it 8 bits, plus one fp32 a `second_block` of them.
    """
    constant = 8 + 32 / second_block if double_quantisation else 32
    return 4 + constant / block


def double_quantisation_saving(block: int = 64, second_block: int = 256) -> float:
    """Bits a parameter that double quantisation saves."""
    return nf4_bits_per_parameter(False, block) - nf4_bits_per_parameter(True, block, second_block)


def nf4_base_size(model: str, unit: str = "B", double_quantisation: bool = True, rest_precision: str = "bf16") -> float:
    """A base model whose block layers are NF4; embeddings, output head and norms stay in `rest_precision`."""
    quantised = linear_parameters(model)
    rest = (model_parameters(model) - quantised) * bytes_per_value(rest_precision)
    return in_unit(quantised * nf4_bits_per_parameter(double_quantisation) / 8 + rest, unit)


# Training memory: weights, gradients and optimizer states. Activations and buffers come on top of all of these.


def adam_state_size(parameters: int, precision: str = "fp32", unit: str = "B") -> float:
    """Adam's two moments for `parameters` trainable numbers (Kingma and Ba 2015)."""
    return in_unit(2 * parameters * bytes_per_value(precision), unit)


def trainable_bytes(parameters: int, precision: str, state_precision: str) -> float:
    """Weights and gradients in `precision` and Adam's moments in `state_precision`."""
    return 2 * parameters * bytes_per_value(precision) + adam_state_size(parameters, state_precision)


def full_training_size(model: str, precision: str, unit: str = "B", state_precision: str = "fp32") -> float:
    """Weights, gradients and Adam states of full fine-tuning (no fp32 master copy)."""
    return in_unit(trainable_bytes(model_parameters(model), precision, state_precision), unit)


def lora_training_size(
    model: str, targets: str, rank: int, precision: str, *, unit: str = "B", adapter_precision: str = "fp32"
) -> float:
    """A frozen base in `precision`, and the adapter with its gradients and fp32 Adam states."""
    adapter = trainable_bytes(lora_parameters(model, targets, rank), adapter_precision, "fp32")
    return weight_size(model, precision, unit) + in_unit(adapter, unit)


def qlora_training_size(model: str, targets: str, rank: int, unit: str = "B", adapter_precision: str = "bf16") -> float:
    """An NF4 base with double quantisation, and the adapter with its gradients and fp32 Adam states."""
    adapter = trainable_bytes(lora_parameters(model, targets, rank), adapter_precision, "fp32")
    return nf4_base_size(model, unit) + in_unit(adapter, unit)


def lora_memory_saving(model: str, targets: str, rank: int, precision: str, activations: float = 0.0) -> float:
    """How many times less memory LoRA training needs than full; `activations` in GB are added to both."""
    full = full_training_size(model, precision, "GB") + activations
    return full / (lora_training_size(model, targets, rank, precision, unit="GB") + activations)


def adapter_share_percent(model: str, targets: str, rank: int, precision: str) -> float:
    """The adapter's part (weights, gradients, states) of LoRA's training memory without activations, in percent."""
    total = lora_training_size(model, targets, rank, precision)
    return 100 * (total - weight_size(model, precision)) / total


# Compute


def full_step_flops_per_token(model: str) -> float:
    """Forward 2N, gradients of the inputs 2N, gradients of the weights 2N (Kaplan et al. 2020, section 2.1).

    N counts the weights of the blocks; attention scores and the output head are left out.
    """
    return 6 * linear_parameters(model)


def lora_step_flops_per_token(model: str, targets: str, rank: int) -> float:
    """4N through the frozen base, which needs no weight gradients, and 6n for the n parameters of the adapter."""
    return 4 * linear_parameters(model) + 6 * lora_parameters(model, targets, rank)


def lora_step_flops_ratio(model: str, targets: str, rank: int) -> float:
    """FLOPs of a LoRA step over FLOPs of a full fine-tuning step."""
    return lora_step_flops_per_token(model, targets, rank) / full_step_flops_per_token(model)


def bypass_flops_percent(model: str, targets: str, rank: int) -> float:
    """Extra forward FLOPs of an adapter that is not merged, in percent of the base's."""
    return 100 * lora_parameters(model, targets, rank) / linear_parameters(model)


def merge_flops(model: str, targets: str, rank: int) -> float:
    """FLOPs of computing W + s BA once: 2 r d_out d_in for the product, 2 d_out d_in to scale and add."""
    return 2 * (rank + 1) * linear_parameters(model, targets)


FORMULAS: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        layer_parameters,
        lora_layer_parameters,
        lora_layer_reduction,
        linear_parameters,
        model_parameters,
        lora_parameters,
        lora_share_percent,
        lora_reduction,
        targets_share_percent,
        lora_scale,
        kaiming_uniform_bound,
        kaiming_bound_ratio,
        weight_size,
        adapter_size,
        full_storage,
        lora_storage,
        storage_saving_percent,
        nf4_bits_per_parameter,
        double_quantisation_saving,
        nf4_base_size,
        adam_state_size,
        full_training_size,
        lora_training_size,
        qlora_training_size,
        lora_memory_saving,
        adapter_share_percent,
        full_step_flops_per_token,
        lora_step_flops_per_token,
        lora_step_flops_ratio,
        bypass_flops_percent,
        merge_flops,
    )
}
