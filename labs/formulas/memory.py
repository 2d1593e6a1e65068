"""Training memory part by part: what a block keeps for backward, the loss, optimizer states, and the whole sum.

Weights, gradients and Adam's states of a whole model are in `lora`, KV caches, logits and ZeRO in `serving`; here is
what they lack. All counts are of the tensors that transformers, PEFT and bitsandbytes really make, in bytes unless
`unit` says otherwise: GB = 10**9, GiB = 2**30. What these sums leave out (fragments, kernels' workspaces, temporaries)
the memory simulator counts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, prod

from labs.formulas.lora import (
    ALL_LINEAR,
    adam_state_size,
    bytes_per_value,
    in_unit,
    linear_parameters,
    model_parameters,
    model_shape,
    nf4_base_size,
    target_shapes,
    weight_size,
)
from labs.formulas.serving import FULL, checkpoint_size, logits_size, trained_parameters
from labs.memory.shapes import ModelShape

# Which layers of a block read the same tensor.
INPUTS = {
    "q_proj": "attention norm",
    "k_proj": "attention norm",
    "v_proj": "attention norm",
    "o_proj": "attention",
    "gate_proj": "mlp norm",
    "up_proj": "mlp norm",
    "down_proj": "mlp",
}
# bitsandbytes: values that share one fp32 constant in 8-bit optimizer states, and below how many a tensor stays fp32
STATE_BLOCK = 256
SMALLEST_8_BIT_TENSOR = 4096
OPTIMIZERS = ("adamw", "adamw-fused", "sgd", "sgd-momentum", "adafactor", "adamw-8bit")


# What a block keeps for backward


@dataclass(frozen=True)
class Training:
    """A training step as the sums below see it; targets `full` means that everything trains.

    `weights` is the format of the base where it is quantised (int8, nf4, nf4-double), else `precision` counts;
    `chunk` is the number of tokens whose logits are there at once, 0 for all.
    """

    targets: str
    rank: int = 0
    adapter_precision: str = "fp32"
    attention: str = "flash"
    precision: str = "bf16"
    weights: str = ""
    optimizer: str = "adamw"
    chunk: int = 0
    checkpointing: bool = True
    accumulates: bool = False

    @property
    def is_full(self) -> bool:
        return self.targets == FULL

    @property
    def trained_precision(self) -> str:
        return self.precision if self.is_full else self.adapter_precision


def selective_activation_size(hidden: int, batch: int, length: int, unit: str = "B") -> float:
    """A GPT block in 16 bits whose attention scores are computed again: 34 s b h (Korthikanti et al. 2022, section 5).

    FlashAttention stores no scores either, so this is its count too.
    """
    return in_unit(34 * length * batch * hidden, unit)


def llama_block_activation_size(
    model: str, batch: int, length: int, attention: str = "flash", *, precision: str = "bf16", unit: str = "B"
) -> float:
    """What one block of LLaMA's shape keeps when all of it trains, as transformers computes it.

    Per token, p bytes a value: two norms, each an fp32 copy of its input, its result before the weight and its output
    (4 + 2p) h; queries, keys, values and attention's output p (2 a d + 2 k d); four tensors of the MLP 4 p f. With
    flash attention 4 bytes a head for the softmax's denominator; eager attention keeps the scores instead, in fp32 and
    in p bytes, and copies keys and values to all heads.
    """
    training = Training(FULL, attention=attention, precision=precision)
    return in_unit(batch * length * _bytes_per_token(model, length, training), unit)


def lora_block_activation_size(
    model: str,
    batch: int,
    length: int,
    targets: str = ALL_LINEAR,
    rank: int = 16,
    *,
    adapter_precision: str = "fp32",
    attention: str = "flash",
    precision: str = "bf16",
    unit: str = "B",
) -> float:
    """What one block keeps when only LoRA on `targets` trains.

    Frozen weights need no inputs, the adapters do: A's input and its output of r values. Where the adapters have
    another precision than the base (PEFT's default: fp32 on a 16-bit base), every target layer keeps its own copy.
    """
    training = Training(targets, rank, adapter_precision, attention, precision)
    return in_unit(batch * length * _bytes_per_token(model, length, training), unit)


def lora_activation_percent(
    model: str, targets: str = ALL_LINEAR, rank: int = 16, adapter_precision: str = "fp32"
) -> float:
    """What a block keeps under LoRA in percent of what it keeps under full fine-tuning, bf16 and flash attention."""
    kept = lora_block_activation_size(model, 1, 1, targets, rank, adapter_precision=adapter_precision)
    return 100 * kept / llama_block_activation_size(model, 1, 1)


def llama_activation_size(
    model: str, batch: int, length: int, targets: str = FULL, rank: int = 16, *, unit: str = "B"
) -> float:
    """What all blocks keep in bf16 with flash attention; adapters are fp32, targets `full` means that all trains."""
    return model_shape(model).layers * in_unit(
        batch * length * _bytes_per_token(model, length, Training(targets, rank)), unit
    )


def checkpointed_activation_size(
    model: str, batch: int, length: int, targets: str = FULL, rank: int = 16, *, unit: str = "B"
) -> float:
    """With gradient checkpointing: the input of every block, and all of the one block that is computed again."""
    block = batch * length * _bytes_per_token(model, length, Training(targets, rank))
    return checkpoint_size(model, batch, length, "bf16", unit) + in_unit(block, unit)


def _bytes_per_token(model: str, length: int, training: Training) -> float:
    shape, value = _llama_shape(model), bytes_per_value(training.precision)
    # the norms: an fp32 copy of the input and 1 / root mean square, and what a trained weight is multiplied with
    norms = 2 * (4 * shape.hidden + 4 + (value * shape.hidden if training.is_full else 0))
    # silu's input, and both factors of the product of gate and up
    mlp = 3 * value * shape.intermediate
    return norms + mlp + _input_bytes(model, training) + _attention_bytes(shape, length, training.attention, value)


def _attention_bytes(shape: ModelShape, length: int, attention: str, value: int) -> int:
    """Bytes a token of what attention keeps; its output is what the output projection reads."""
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    if attention == "flash":
        return value * (2 * queries + 2 * keys) + 4 * shape.heads
    if attention == "eager":
        copies = 1 if value == 4 else 2  # the softmax is in fp32
        return value * 3 * queries + (4 + value * (copies - 1)) * shape.heads * length
    raise ValueError(f"Unknown attention {attention!r}; known: flash, eager")


def _input_bytes(model: str, training: Training) -> int:
    """Bytes a token of the inputs that layers keep for the gradients of their weights, or of their adapters."""
    layers = model_shape(model).linear_layers()
    value, adapter_value = bytes_per_value(training.precision), bytes_per_value(training.adapter_precision)
    if training.is_full:
        trained = list(layers)
    else:
        target_shapes(model, training.targets)  # names what the model lacks
        trained = list(layers) if training.targets == ALL_LINEAR else training.targets.split(",")
        if adapter_value != value:
            return sum(adapter_value * (layers[name][1] + training.rank) for name in trained)
    inputs = {INPUTS[name]: layers[name][1] for name in trained}
    if training.attention == "flash":
        inputs.pop("attention", None)  # the kernel keeps it anyway
    factors = 0 if training.is_full else training.rank * len(trained)
    return value * (sum(inputs.values()) + factors)


def _llama_shape(model: str) -> ModelShape:
    shape = model_shape(model)
    if not shape.gated or shape.biased or shape.norms != 2 or shape.head_norms:
        raise ValueError(f"Model {model} has no blocks of LLaMA's shape (two norms, gated MLP)")
    return shape


# Loss


def loss_forward_size(model: str, batch: int, length: int, precision: str = "bf16", unit: str = "B") -> float:
    """Logits, their fp32 copy unless they are fp32, and the fp32 log-probabilities: 10 bytes a logit in bf16."""
    copies = 1 if precision == "fp32" else 2
    fp32 = logits_size(model, batch, length, "fp32", unit)
    return logits_size(model, batch, length, precision, unit) + (copies - 1) * fp32 + fp32


def loss_backward_size(model: str, batch: int, length: int, unit: str = "B") -> float:
    """When backward begins: log-probabilities and two fp32 gradients, of each step in turn: 12 bytes a logit.

    A training loop that holds on to the model's output has the logits themselves on top.
    """
    return 3 * logits_size(model, batch, length, "fp32", unit)


def chunked_loss_size(model: str, batch: int, length: int, chunk: int = 1024, unit: str = "B") -> float:
    """The same when the loss is computed over `chunk` tokens at a time, whose logits are not kept."""
    return loss_backward_size(model, 1, min(batch * length, chunk), unit)


# Quantised weights


def int8_base_size(model: str, unit: str = "B", rest_precision: str = "bf16") -> float:
    """A base whose block layers are int8, with an fp32 constant a row (Dettmers et al. 2022); the rest is 16 bits."""
    shape = model_shape(model)
    rows = shape.layers * sum(d_out for d_out, _ in target_shapes(model, ALL_LINEAR))
    quantised = linear_parameters(model)
    rest = (model_parameters(model) - quantised) * bytes_per_value(rest_precision)
    return in_unit(quantised + 4 * rows + rest, unit)


def block_quantised_size(
    rows: int,
    columns: int,
    double_quantisation: bool,
    *,
    block: int = 64,
    second_block: int = 256,
    unit: str = "B",
) -> float:
    """A matrix in 4 bits as bitsandbytes stores it, counted tensor by tensor.

    Codes two a byte; one constant a block, fp32, or with double quantisation one byte and one fp32 a `second_block` of
    them, and then also the mean of the constants and the table of 256 levels, and in any case the table of 16.
    """
    weights = rows * columns
    constants = ceil(weights / block)
    size = ceil(weights / 2) + 16 * 4
    size += constants + 4 * ceil(constants / second_block) + 4 + 256 * 4 if double_quantisation else 4 * constants
    return in_unit(size, unit)


def block_quantised_bits(
    rows: int, columns: int, double_quantisation: bool, block: int = 64, second_block: int = 256
) -> float:
    """The same in bits a weight: tables included, which is what a small matrix shows and a large one hides."""
    size = block_quantised_size(rows, columns, double_quantisation, block=block, second_block=second_block)
    return 8 * size / (rows * columns)


def dequantised_layer_size(model: str, precision: str = "bf16", unit: str = "B") -> float:
    """The 16-bit copy of the largest layer of a block: a 4-bit layer makes one in forward and one in backward."""
    largest = max(d_out * d_in for d_out, d_in in target_shapes(model, ALL_LINEAR))
    return in_unit(largest * bytes_per_value(precision), unit)


# Optimizer states


def optimizer_state_size(
    model: str,
    targets: str = FULL,
    rank: int = 16,
    optimizer: str = "adamw",
    *,
    precision: str = "fp32",
    unit: str = "B",
) -> float:
    """States of one optimizer for all trained tensors; `precision` is the trained tensors', whose format states take.

    adamw: two moments (PyTorch keeps them in the parameters' format). sgd: none; sgd-momentum: one. adafactor: a row
    and a column of every matrix (Shazeer and Stern 2018), all of a vector. adamw-8bit: two bytes, and two fp32
    constants a block of 256 (Dettmers et al. 2022), but fp32 for tensors below 4096 values.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"Unknown optimizer {optimizer!r}; known: {', '.join(OPTIMIZERS)}")
    if optimizer in ("adamw", "adamw-fused"):
        return adam_state_size(trained_parameters(model, targets, rank), precision, unit)
    per_tensor = {
        "sgd": lambda _tensor: 0,
        "sgd-momentum": lambda tensor: prod(tensor) * bytes_per_value(precision),
        "adafactor": lambda tensor: (sum(tensor) if len(tensor) > 1 else tensor[0]) * bytes_per_value(precision),
        "adamw-8bit": _state_bytes_8_bit,
    }[optimizer]
    return in_unit(sum(count * per_tensor(tensor) for tensor, count in _trained_tensors(model, targets, rank)), unit)


def _state_bytes_8_bit(tensor: tuple[int, ...]) -> int:
    values = prod(tensor)
    if values < SMALLEST_8_BIT_TENSOR:
        return 2 * 4 * values
    return 2 * (values + 4 * ceil(values / STATE_BLOCK))


def _trained_tensors(model: str, targets: str, rank: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Shape and number of the tensors that an optimizer sees."""
    shape = model_shape(model)
    if targets != FULL:
        for d_out, d_in in target_shapes(model, targets):
            yield (rank, d_in), shape.layers
            yield (d_out, rank), shape.layers
        return
    yield (shape.vocabulary, shape.hidden), 1 if shape.tied else 2
    if shape.learned_positions:
        yield (shape.learned_positions, shape.hidden), 1
    for matrix in shape.linear_layers().values():
        yield matrix, shape.layers
    for d_out in shape.biases():
        yield (d_out,), shape.layers
    yield (shape.hidden,), (shape.norms * shape.layers + 1) * (2 if shape.biased else 1)
    if shape.head_norms:
        yield (shape.head_size,), 2 * shape.layers


def state_bytes_per_parameter_8_bit() -> float:
    """Bytes of 8-bit Adam's two states a parameter of a large tensor: 2 (1 + 4 / 256)."""
    return _state_bytes_8_bit((STATE_BLOCK, STATE_BLOCK)) / STATE_BLOCK**2


# Sharding


def gathered_block_size(model: str, precision: str = "bf16", unit: str = "B") -> float:
    """What ZeRO-3 or FSDP gathers before a block runs and frees after it: all parameters of one block."""
    return in_unit(model_shape(model).block_parameters() * bytes_per_value(precision), unit)


# The whole sum


def base_size(model: str, training: Training) -> float:
    """Bytes of the model's own weights in the format that they are kept in."""
    if training.weights == "int8":
        return int8_base_size(model)
    if training.weights in ("nf4", "nf4-double"):
        return nf4_base_size(model, double_quantisation=training.weights == "nf4-double")
    return weight_size(model, training.precision)


def peak_parts(model: str, batch: int, length: int, training: Training) -> dict[str, float]:
    """Bytes by category at the larger of two moments: when backward begins, and in the optimizer's step.

    When backward begins there are activations and the loss, but gradients only where they are accumulated; in the step
    there are gradients and no activations, but a temporary as large as the gradients, unless AdamW is the fused one.
    Checkpointing never has the loss and a recomputed block at once.
    """
    trained = trained_parameters(model, training.targets, training.rank) * bytes_per_value(training.trained_precision)
    always = {
        "weights": base_size(model, training) + (0 if training.is_full else trained),
        "optimizer states": optimizer_state_size(
            model, training.targets, training.rank, training.optimizer, precision=training.trained_precision
        ),
    }
    backward = always | _kept_and_loss(model, batch, length, training)
    if training.accumulates:
        backward["gradients"] = trained
    # PyTorch's default on a GPU works on all tensors at once, and so has all square roots at once
    roots = trained if training.optimizer == "adamw" else 0
    step = always | {"gradients": trained, "temporaries": roots}
    return max(backward, step, key=lambda parts: sum(parts.values()))


def _kept_and_loss(model: str, batch: int, length: int, training: Training) -> dict[str, float]:
    block = batch * length * _bytes_per_token(model, length, training)
    tokens = min(batch * length, training.chunk or batch * length)
    loss = loss_backward_size(model, 1, tokens)
    if not training.checkpointing:
        return {"activations": model_shape(model).layers * block, "loss": loss}
    inputs = checkpoint_size(model, batch, length, training.precision)
    if loss > block:
        return {"activations": inputs, "loss": loss}
    return {"activations": inputs + block, "temporaries": dequantised_layer_size(model) if training.weights else 0.0}


def full_training_peak(
    model: str, batch: int, length: int, precision: str = "bf16", *, checkpointing: bool = True, unit: str = "GB"
) -> float:
    """Full fine-tuning with AdamW in one precision: weights, two moments, and activations with loss or gradients."""
    training = Training(FULL, precision=precision, checkpointing=checkpointing)
    return in_unit(sum(peak_parts(model, batch, length, training).values()), unit)


def lora_training_peak(
    model: str,
    targets: str,
    rank: int,
    batch: int,
    length: int,
    *,
    checkpointing: bool = True,
    unit: str = "GB",
) -> float:
    """LoRA in fp32 on a bf16 base with AdamW: base, adapter with its moments, activations, and the loss."""
    training = Training(targets, rank, checkpointing=checkpointing)
    return in_unit(sum(peak_parts(model, batch, length, training).values()), unit)


def qlora_training_peak(
    model: str,
    targets: str,
    rank: int,
    batch: int,
    length: int,
    *,
    checkpointing: bool = True,
    unit: str = "GB",
) -> float:
    """The same on an NF4 base with double quantisation, and one layer's 16-bit copy where a block is recomputed."""
    training = Training(targets, rank, weights="nf4-double", checkpointing=checkpointing)
    return in_unit(sum(peak_parts(model, batch, length, training).values()), unit)


FORMULAS: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        selective_activation_size,
        llama_block_activation_size,
        lora_block_activation_size,
        lora_activation_percent,
        llama_activation_size,
        checkpointed_activation_size,
        loss_forward_size,
        loss_backward_size,
        chunked_loss_size,
        int8_base_size,
        block_quantised_size,
        block_quantised_bits,
        dequantised_layer_size,
        optimizer_state_size,
        state_bytes_per_parameter_8_bit,
        gathered_block_size,
        full_training_peak,
        lora_training_peak,
        qlora_training_peak,
    )
}
