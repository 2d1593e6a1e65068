"""Serving and training at scale: KV cache, adapter traffic, activations, and what data parallelism sends and shards."""

from collections.abc import Callable

from labs.formulas.lora import (
    adam_state_size,
    adapter_size,
    bytes_per_value,
    full_storage,
    in_unit,
    linear_parameters,
    lora_layer_parameters,
    lora_parameters,
    lora_step_flops_per_token,
    lora_storage,
    merge_flops,
    model_parameters,
    model_shape,
    weight_size,
)

FULL = "full"
# Rajbhandari et al. 2019 (ZeRO), section 3.1: which stage shards what
FIRST_STAGE_THAT_SHARDS = {"states": 1, "gradients": 2, "weights": 3}


# Inference


def batch_kv_cache_size(model: str, batch: int, length: int, precision: str = "bf16", unit: str = "B") -> float:
    """Keys and values of all layers: 2 x layers x KV heads x head size x batch x length values."""
    shape = model_shape(model)
    values = 2 * shape.layers * shape.kv_heads * shape.head_size * batch * length
    return in_unit(values * bytes_per_value(precision), unit)


def half_kv_cache_size(model: str, batch: int, length: int, precision: str = "bf16", unit: str = "B") -> float:
    """Keys alone, or values alone."""
    return batch_kv_cache_size(model, batch, length, precision, unit) / 2


def layer_count(model: str) -> int:
    """Blocks of a model."""
    return model_shape(model).layers


def kv_head_count(model: str) -> int:
    """Heads that have keys and values of their own: fewer than query heads under grouped-query attention."""
    return model_shape(model).kv_heads


def sequences_that_fit(model: str, memory: float, length: int, adapters: float = 0.0, precision: str = "bf16") -> int:
    """How many sequences of `length` tokens fit in `memory` GB beside the weights and `adapters` GB of adapters."""
    free = memory - adapters - weight_size(model, precision, "GB")
    return max(0, int(free // batch_kv_cache_size(model, 1, length, precision, "GB")))


def adapters_that_fit(model: str, targets: str, rank: int, memory: float, precision: str = "bf16") -> int:
    """How many whole adapters fit in `memory` GB."""
    return int(memory // adapter_size(model, targets, rank, precision, "GB"))


def load_time(model: str, targets: str, rank: int, bandwidth: float, precision: str = "bf16") -> float:
    """Milliseconds that copying one adapter takes at `bandwidth` GB/s: a lower bound, without latency and parsing."""
    return 1000 * adapter_size(model, targets, rank, precision, "GB") / bandwidth


def base_load_time(model: str, bandwidth: float, precision: str = "bf16") -> float:
    """Seconds that copying the whole base takes at `bandwidth` GB/s."""
    return weight_size(model, precision, "GB") / bandwidth


def decode_step_time(
    model: str,
    bandwidth: float,
    adapters: int = 0,
    targets: str = "all-linear",
    rank: int = 16,
    *,
    kv_cache: float = 0.0,
) -> float:
    """Milliseconds of reading bf16 weights, distinct `adapters` and `kv_cache` GB once at `bandwidth` GB/s.

    A lower bound of one decoding step: at small batches decoding is limited by memory, not by arithmetic.
    """
    read = weight_size(model, "bf16", "GB") + adapters * adapter_size(model, targets, rank, "bf16", "GB") + kv_cache
    return 1000 * read / bandwidth


def merge_teraflops(model: str, targets: str, rank: int) -> float:
    """10^12 operations of computing W + s BA once."""
    return merge_flops(model, targets, rank) / 1e12


def merge_petaflops(model: str, targets: str, rank: int) -> float:
    """The same in units of 10^15 operations."""
    return merge_flops(model, targets, rank) / 1e15


def merge_in_tokens(model: str, targets: str, rank: int) -> float:
    """How many tokens a forward pass through the target layers could process for the operations of a merge: r + 1."""
    return merge_flops(model, targets, rank) / (2 * linear_parameters(model, targets))


def replicas_memory(model: str, tasks: int, precision: str = "bf16", unit: str = "GB") -> float:
    """Weights of one merged model a task."""
    return tasks * weight_size(model, precision, unit)


def shared_base_memory(model: str, targets: str, rank: int, tasks: int, precision: str = "bf16") -> float:
    """GB of one base and one adapter a task."""
    return weight_size(model, precision, "GB") + tasks * adapter_size(model, targets, rank, precision, "GB")


def shared_base_saving_percent(model: str, targets: str, rank: int, tasks: int, precision: str = "bf16") -> float:
    """What one shared base saves against one merged model a task, in percent of the memory of the weights."""
    return 100 * (
        1 - shared_base_memory(model, targets, rank, tasks, precision) / replicas_memory(model, tasks, precision)
    )


# Training memory


def storage_cost(model: str, targets: str, rank: int, tasks: int, price: float, *, precision: str = "fp16") -> float:
    """Price a month of the weights of `tasks` tasks at `price` a GB: full copies, or one base with adapters."""
    if targets == FULL:
        return price * full_storage(model, tasks, precision, "GB")
    return price * lora_storage(model, targets, rank, tasks, precision, unit="GB")


def adapter_training_minutes(model: str, targets: str, rank: int, tokens: float, teraflops: float) -> float:
    """Minutes for LoRA on `tokens` tokens (all epochs together) at `teraflops` TFLOPS that the GPU really reaches.

    Matrix products only: attention scores, loading, evaluation and waiting for data come on top.
    """
    return tokens * lora_step_flops_per_token(model, targets, rank) / (teraflops * 1e12) / 60


def precision_bytes(precision: str) -> int:
    """Bytes of one number in fp32, bf16, fp16 or int8."""
    return bytes_per_value(precision)


def adam_states_of(model: str, unit: str = "GB") -> float:
    """Adam's two fp32 moments for all parameters of a model."""
    return adam_state_size(model_parameters(model), "fp32", unit)


def vocabulary_size(model: str) -> int:
    """Words in a model's vocabulary."""
    return model_shape(model).vocabulary


def checkpoint_size(model: str, batch: int, length: int, precision: str = "bf16", unit: str = "B") -> float:
    """What full recomputation keeps: the input of every block (Chen et al. 2016), batch x length x hidden each."""
    shape = model_shape(model)
    return in_unit(shape.layers * batch * length * shape.hidden * bytes_per_value(precision), unit)


def logits_size(model: str, batch: int, length: int, precision: str = "fp32", unit: str = "B") -> float:
    """One tensor of logits: batch x length x vocabulary."""
    return in_unit(batch * length * model_shape(model).vocabulary * bytes_per_value(precision), unit)


def block_activation_size(hidden: int, heads: int, batch: int, length: int, unit: str = "B") -> float:
    """Activations of a GPT block in 16 bits, scores stored: s b h (34 + 5 a s / h), Korthikanti et al. 2022, (1)."""
    return in_unit(length * batch * hidden * (34 + 5 * heads * length / hidden), unit)


def model_activation_size(model: str, batch: int, length: int, unit: str = "B") -> float:
    """The same for all blocks of a model; a GPT block stands in for gated ones, so take it as an order of magnitude."""
    shape = model_shape(model)
    return shape.layers * block_activation_size(shape.hidden, shape.heads, batch, length, unit)


# Data parallelism


def trained_parameters(model: str, targets: str, rank: int) -> int:
    """Parameters that get a gradient; targets `full` means all of the model."""
    return model_parameters(model) if targets == FULL else lora_parameters(model, targets, rank)


def gradient_size(model: str, targets: str, rank: int, precision: str = "fp32", unit: str = "B") -> float:
    """Bytes of gradients that data parallelism has to sum over the ranks, once a step."""
    return in_unit(trained_parameters(model, targets, rank) * bytes_per_value(precision), unit)


def all_reduce_traffic(size: float, ranks: int) -> float:
    """What each rank sends in a ring all-reduce of `size`: 2 (N - 1) / N of it."""
    return 2 * (ranks - 1) / ranks * size


def all_reduce_time(
    model: str, targets: str, rank: int, ranks: int, bandwidth: float, *, precision: str = "bf16"
) -> float:
    """Milliseconds of sending the gradients in a ring at `bandwidth` GB/s a rank, without latency and overlap."""
    return 1000 * all_reduce_traffic(gradient_size(model, targets, rank, precision, "GB"), ranks) / bandwidth


def all_reduce_reduction(model: str, targets: str, rank: int) -> float:
    """How many times fewer gradient bytes LoRA sends than full fine-tuning at equal precision."""
    return model_parameters(model) / lora_parameters(model, targets, rank)


def zero_bytes_per_rank(
    parameters: float, trained: float, ranks: int, stage: int, *, weight_bytes: float = 2.0, state_bytes: float = 12.0
) -> float:
    """Bytes of weights, 16-bit gradients and optimizer states on one rank (Rajbhandari et al. 2019, section 3.1).

    `state_bytes` = 12: fp32 master copy and two moments. Stage 0 is plain data parallelism. Only `trained` of the
    `parameters` have gradients and states.
    """
    shards = {part: ranks if stage >= first else 1 for part, first in FIRST_STAGE_THAT_SHARDS.items()}
    states, gradients = state_bytes * trained / shards["states"], 2 * trained / shards["gradients"]
    return states + gradients + weight_bytes * parameters / shards["weights"]


def zero_full_size(parameters: float, ranks: int, stage: int, unit: str = "GB") -> float:
    """ZeRO's memory of one rank for mixed-precision Adam on all parameters."""
    return in_unit(zero_bytes_per_rank(parameters, parameters, ranks, stage), unit)


def zero_lora_size(
    model: str, targets: str, rank: int, ranks: int, stage: int, *, weight_bytes: float = 2.0, unit: str = "GB"
) -> float:
    """The same for LoRA: the frozen base has weights only, and only stage 3 (or FSDP) shards them."""
    trained = lora_parameters(model, targets, rank)
    total = model_parameters(model)
    return in_unit(zero_bytes_per_rank(total, trained, ranks, stage, weight_bytes=weight_bytes), unit)


def fsdp_traffic(model: str, ranks: int, trains_all: bool, precision: str = "bf16", unit: str = "GB") -> float:
    """What each rank sends a step: a gather of the weights in forward and in backward, and a scatter of the gradients.

    Each collective moves (N - 1) / N of the weights. A frozen base has no gradients, so the third falls away; the
    adapter's own traffic is left out.
    """
    collectives = 3 if trains_all else 2
    return collectives * (ranks - 1) / ranks * weight_size(model, precision, unit)


def tensor_parallel_bypass_percent(model: str, rank: int) -> float:
    """Values that a LoRA's extra all-reduce of r numbers adds to a row-parallel layer's own of `hidden`, in percent."""
    return 100 * rank / model_shape(model).hidden


def bypass_weight_percent(model: str, targets: str, rank: int) -> float:
    """Bytes of one adapter read in a decoding step, in percent of the block weights that are read anyway."""
    return 100 * lora_parameters(model, targets, rank) / linear_parameters(model)


def distinct_adapters_percent(model: str, targets: str, rank: int, adapters: int) -> float:
    """Bytes of `adapters` different adapters read in a decoding step, in percent of the block weights."""
    return adapters * bypass_weight_percent(model, targets, rank)


# Several adapters in one


def sum_of_ranks(first: int, second: int, third: int) -> int:
    """Rank of the exact sum of three adapters, as long as the layer is wide enough."""
    return first + second + third


def stacked_parameters(first: int, second: int, third: int, width: int) -> int:
    """Parameters of that adapter in a square layer of `width`."""
    return lora_layer_parameters(width, width, sum_of_ranks(first, second, third))


def concatenated_rank(ranks: str) -> float:
    """Rank of the exact sum of adapters of `ranks` (`8,8,16`) kept as one: the factors are stacked."""
    return float(sum(int(rank) for rank in ranks.split(",")))


def factor_average_share(adapters: int) -> float:
    """Share of the wanted sum that averaging A and B separately keeps: (1/n)^2 of every B_i A_i where 1/n is wanted."""
    return 1 / adapters


FORMULAS: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        batch_kv_cache_size,
        half_kv_cache_size,
        layer_count,
        kv_head_count,
        sequences_that_fit,
        adapters_that_fit,
        load_time,
        base_load_time,
        decode_step_time,
        merge_teraflops,
        merge_petaflops,
        merge_in_tokens,
        replicas_memory,
        shared_base_memory,
        shared_base_saving_percent,
        storage_cost,
        adapter_training_minutes,
        precision_bytes,
        adam_states_of,
        vocabulary_size,
        checkpoint_size,
        logits_size,
        block_activation_size,
        model_activation_size,
        trained_parameters,
        gradient_size,
        all_reduce_traffic,
        all_reduce_time,
        all_reduce_reduction,
        zero_bytes_per_rank,
        zero_full_size,
        zero_lora_size,
        fsdp_traffic,
        tensor_parallel_bypass_percent,
        bypass_weight_percent,
        distinct_adapters_percent,
        sum_of_ranks,
        stacked_parameters,
        concatenated_rank,
        factor_average_share,
    )
}
