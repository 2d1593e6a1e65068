"""LoRA's variants, other PEFT methods and continual learning: parameter counts, schedules, penalties and metrics."""

import math
from collections.abc import Callable

from labs.formulas.lora import (
    linear_parameters,
    lora_layer_parameters,
    model_parameters,
    model_shape,
    target_shapes,
)

# Variants of LoRA


def adalora_budget(initial_rank: int, target_rank: int, step: int, warmup: int, final: int, *, total: int) -> float:
    """Average rank a matrix at `step`: b_T + (b_0 - b_T) (1 - t')^3 (Zhang et al. 2023, section 3.3).

    t' runs from 0 at `warmup` to 1 at `total` - `final`; before and after the budget is constant.
    """
    if step <= warmup:
        return initial_rank
    if step > total - final:
        return target_rank
    left = 1 - (step - warmup) / (total - final - warmup)
    return target_rank + (initial_rank - target_rank) * left**3


def adalora_progress(step: int, warmup: int, final: int, total: int) -> float:
    """How much of the pruning phase has passed, from 0 to 1."""
    return min(1.0, max(0.0, (step - warmup) / (total - final - warmup)))


def linear_budget(initial_rank: int, target_rank: int, step: int, warmup: int, final: int, *, total: int) -> float:
    """The same budget on a straight line, for contrast with AdaLoRA's cubic."""
    progress = adalora_progress(step, warmup, final, total)
    return initial_rank + (target_rank - initial_rank) * progress


def adalora_score(singular_value: float, left_sum: float, right_sum: float, rows: int, columns: int) -> float:
    """Importance of a triplet: s(lambda) + the means of s over its two vectors (Zhang et al. 2023, section 3.2)."""
    return singular_value + left_sum / rows + right_sum / columns


def rank_sum(first: int, second: int, third: int) -> int:
    """The rank budget that three matrices use together."""
    return first + second + third


def dora_length(base_x: float, base_y: float, change_x: float, change_y: float) -> float:
    """Length of a two-dimensional weight vector after a change."""
    return math.hypot(base_x + change_x, base_y + change_y)


def changed_component(base: float, change: float) -> float:
    """One component of a weight vector after an additive change, as LoRA makes it."""
    return base + change


def dora_component(magnitude: float, base_x: float, base_y: float, change_x: float, change_y: float) -> float:
    """First component of m (v + dv) / |v + dv| (Liu et al. 2024, equation 5)."""
    return magnitude * (base_x + change_x) / dora_length(base_x, base_y, change_x, change_y)


def direction_change(base_x: float, base_y: float, change_x: float, change_y: float) -> float:
    """1 - cosine between a weight vector before and after a change (Liu et al. 2024, equation 4)."""
    dot = base_x * (base_x + change_x) + base_y * (base_y + change_y)
    return 1 - dot / (math.hypot(base_x, base_y) * dora_length(base_x, base_y, change_x, change_y))


def vera_layer_parameters(d_out: int, rank: int) -> int:
    """VeRA trains d (rank values) and b (d_out values) a layer (Kopiczko et al. 2023, section 3.2)."""
    return d_out + rank


def vera_parameters(model: str, targets: str, rank: int) -> int:
    """Trainable parameters of VeRA on `targets` in all blocks; the shared random matrices are frozen."""
    shape = model_shape(model)
    return shape.layers * sum(vera_layer_parameters(d_out, rank) for d_out, _ in target_shapes(model, targets))


def lora_xs_parameters(model: str, targets: str, rank: int) -> int:
    """LoRA-XS trains one rank x rank matrix a layer (Bałazy et al. 2024, section 3)."""
    return model_shape(model).layers * len(target_shapes(model, targets)) * rank**2


def loha_layer_parameters(d_in: int, d_out: int, rank: int) -> int:
    """LoHa has two factor pairs: 2 r (d_in + d_out) (Hyeon-Woo et al. 2021, section 2.2)."""
    return 2 * lora_layer_parameters(d_in, d_out, rank)


def loha_rank_bound(rank: int, d_in: int, d_out: int) -> int:
    """The highest rank of a Hadamard product of two matrices of `rank`: r^2, as far as the layer is wide."""
    return min(rank**2, d_in, d_out)


def lokr_small_parameters(factor: int) -> int:
    """The small Kronecker factor, factor x factor, kept whole."""
    return factor**2


def lokr_large_parameters(d_in: int, d_out: int, rank: int, factor: int) -> int:
    """The large Kronecker factor, (d_out / factor) x (d_in / factor), as a product of `rank`."""
    return rank * (d_in // factor + d_out // factor)


def lokr_layer_parameters(d_in: int, d_out: int, rank: int, factor: int) -> int:
    """LoKr with `factor` dividing both widths (Yeh et al. 2023, section 3.3)."""
    return lokr_small_parameters(factor) + lokr_large_parameters(d_in, d_out, rank, factor)


def peft_lokr_parameters(model: str, targets: str, rank: int, factor: int) -> int:
    """LoKr on `targets` in all blocks as PEFT makes it: the small factor whole, the large one too where that is less.

    `factor` has to divide the widths; a rank of half the large factor's longer side or more saves nothing.
    """
    total = 0
    for d_out, d_in in target_shapes(model, targets):
        rows, columns = d_out // factor, d_in // factor
        whole = rank >= max(rows, columns) / 2
        total += factor**2 + (rows * columns if whole else rank * (rows + columns))
    return model_shape(model).layers * total


def lokr_rank_bound(d_in: int, d_out: int, rank: int, factor: int) -> int:
    """The highest rank of a Kronecker product: the ranks of its factors multiplied."""
    return min(factor, d_in, d_out) * min(rank, d_in // factor, d_out // factor)


def conv_parameters(channels_in: int, channels_out: int, kernel: int) -> int:
    """Weights of a convolution with a square kernel, without bias."""
    return channels_in * channels_out * kernel**2


def locon_parameters(channels_in: int, channels_out: int, kernel: int, rank: int) -> int:
    """LoCon: a convolution to `rank` channels with the same kernel, then a 1 x 1 convolution (Yeh et al. 2023)."""
    return conv_parameters(channels_in, rank, kernel) + conv_parameters(rank, channels_out, 1)


def locon_reduction(channels_in: int, channels_out: int, kernel: int, rank: int) -> float:
    """How many times fewer parameters LoCon trains than the whole convolution."""
    full = conv_parameters(channels_in, channels_out, kernel)
    return full / locon_parameters(channels_in, channels_out, kernel, rank)


def oft_layer_parameters(d_in: int, block: int) -> int:
    """OFT: one skew-symmetric block x block matrix for every `block` inputs (Qiu et al. 2023, section 3)."""
    return d_in // block * block * (block - 1) // 2


def hra_layer_parameters(d_in: int, reflections: int) -> int:
    """HRA: one vector of d_in values a Householder reflection (Yuan et al. 2024, section 3.1)."""
    return reflections * d_in


def galore_state_values(d_in: int, d_out: int, rank: int) -> int:
    """Values that GaLore keeps for Adam: a projector on the short side, two moments (Zhao et al. 2024, Table 1)."""
    short, long = sorted((d_in, d_out))
    return short * rank + 2 * rank * long


def adam_state_values(d_in: int, d_out: int) -> int:
    """Values that Adam keeps for a whole weight matrix."""
    return 2 * d_in * d_out


def lora_state_values(d_in: int, d_out: int, rank: int) -> int:
    """Values that Adam keeps for LoRA's A and B: two a parameter."""
    return 2 * lora_layer_parameters(d_in, d_out, rank)


def galore_saving(d_in: int, d_out: int, rank: int) -> float:
    """How many times fewer optimizer values GaLore keeps than Adam on the whole matrix."""
    return adam_state_values(d_in, d_out) / galore_state_values(d_in, d_out, rank)


def time_ratio(seconds: float, reference_seconds: float) -> float:
    """How many times as long a run took as a reference run."""
    return seconds / reference_seconds


# Other PEFT methods


def ia3_parameters(model: str) -> int:
    """(IA)^3: one factor an output of k_proj and v_proj and an input of down_proj (Liu et al. 2022, section 3.3)."""
    shape = model_shape(model)
    return shape.layers * (2 * shape.kv_heads * shape.head_size + shape.intermediate)


def key_width(model: str) -> int:
    """Width of keys (and of values) in one layer: KV heads times head size."""
    shape = model_shape(model)
    return shape.kv_heads * shape.head_size


def hidden_width(model: str) -> int:
    """Width of the residual stream."""
    return model_shape(model).hidden


def prompt_parameters(model: str, length: int) -> int:
    """Prompt tuning: one embedding a virtual token (Lester et al. 2021, section 2)."""
    return length * hidden_width(model)


def prefix_parameters(model: str, length: int) -> int:
    """Prefix tuning without reparametrisation: one key and one value a virtual token and layer (Li and Liang 2021)."""
    return 2 * model_shape(model).layers * length * key_width(model)


def prefix_encoder_parameters(model: str, length: int, encoder: int) -> int:
    """Prefix tuning while it trains through an MLP: embedding, two linear layers with biases (section 4.3)."""
    width = key_width(model)
    outputs = 2 * model_shape(model).layers * width
    return length * width + width * encoder + encoder + encoder * outputs + outputs


def p_tuning_parameters(model: str, length: int, width: int) -> int:
    """P-tuning while it trains, as PEFT makes it: embeddings of the virtual tokens and an MLP of three layers."""
    hidden = hidden_width(model)
    return length * hidden + (hidden * width + width) + (width * width + width) + (width * hidden + hidden)


def bottleneck_module_parameters(hidden: int, bottleneck: int) -> int:
    """One adapter module: down and up projection with biases, 2 m d + d + m (Houlsby et al. 2019, section 2.1)."""
    return 2 * bottleneck * hidden + hidden + bottleneck


def bottleneck_parameters(model: str, bottleneck: int, per_block: int = 2) -> int:
    """Adapter modules of all blocks: two a block for Houlsby's placement, one for Pfeiffer's."""
    shape = model_shape(model)
    return shape.layers * per_block * bottleneck_module_parameters(shape.hidden, bottleneck)


def bottleneck_share_percent(model: str, bottleneck: int, per_block: int = 2) -> float:
    """Adapter modules in percent of the base model's parameters."""
    return 100 * bottleneck_parameters(model, bottleneck, per_block) / model_parameters(model)


def prefix_share_percent(model: str, length: int) -> float:
    """A prefix in percent of the base model's parameters."""
    return 100 * prefix_parameters(model, length) / model_parameters(model)


def norm_parameters(model: str) -> int:
    """Weights (and biases, where there are any) of all normalisation layers."""
    shape = model_shape(model)
    return (2 * shape.layers + 1) * shape.hidden * (2 if shape.biased else 1)


def bias_parameters(model: str) -> int:
    """Biases of linear layers and norms: what BitFit trains (Ben Zaken et al. 2021); none in LLaMA-like models."""
    shape = model_shape(model)
    if not shape.biased:
        return 0
    linear = shape.layers * sum(d_out for d_out, _ in shape.linear_layers().values())
    return linear + (2 * shape.layers + 1) * shape.hidden


def adapter_block_share_percent(model: str, bottleneck: int, per_block: int = 2) -> float:
    """Extra forward FLOPs of adapter modules in percent of the base's linear layers."""
    return 100 * bottleneck_parameters(model, bottleneck, per_block) / linear_parameters(model)


# Continual learning


def ewc_term(fisher: float, value: float, anchor: float) -> float:
    """F (theta - theta*)^2 of one parameter."""
    return fisher * (value - anchor) ** 2


def ewc_penalty(strength: float, first_term: float, second_term: float) -> float:
    """lambda / 2 times the sum of the terms (Kirkpatrick et al. 2016, equation 3)."""
    return strength / 2 * (first_term + second_term)


def ewc_optimum(curvature: float, new: float, strength: float, fisher: float, old: float) -> float:
    """Minimum of c/2 (x - new)^2 + lambda F/2 (x - old)^2: the mean of both, weighted by curvature."""
    weight = strength * fisher
    return (curvature * new + weight * old) / (curvature + weight)


def unweighted_optimum(curvature: float, new: float, strength: float, old: float) -> float:
    """The same minimum with an L2 penalty that ignores the Fisher information."""
    return ewc_optimum(curvature, new, strength, 1.0, old)


def joint_training_tokens(tasks: int, tokens: float) -> float:
    """Tokens trained in all when every new task retrains on all tasks so far: n T (T + 1) / 2."""
    return tokens * tasks * (tasks + 1) / 2


def replay_training_tokens(tasks: int, tokens: float, share_percent: float) -> float:
    """Tokens trained in all when every later task adds replay that makes up a share of its mixture."""
    return tokens + (tasks - 1) * tokens / (1 - share_percent / 100)


def backward_transfer(first_then: float, second_then: float, first_now: float, second_now: float) -> float:
    """Mean change of two old tasks since they were learned (Lopez-Paz and Ranzato 2017, section 2)."""
    return ((first_now - first_then) + (second_now - second_then)) / 2


def average_accuracy(first: float, second: float, third: float) -> float:
    """Mean score over three tasks after the last one."""
    return (first + second + third) / 3


def random_similarity(width: int) -> float:
    """About the largest |cosine| of a random direction with `width` orthonormal vectors: sqrt(2 ln(width) / width)."""
    return math.sqrt(2 * math.log(width) / width)


FORMULAS: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        adalora_budget,
        adalora_progress,
        linear_budget,
        adalora_score,
        rank_sum,
        dora_length,
        changed_component,
        dora_component,
        direction_change,
        vera_layer_parameters,
        vera_parameters,
        lora_xs_parameters,
        loha_layer_parameters,
        loha_rank_bound,
        lokr_small_parameters,
        lokr_large_parameters,
        lokr_layer_parameters,
        lokr_rank_bound,
        conv_parameters,
        locon_parameters,
        locon_reduction,
        oft_layer_parameters,
        hra_layer_parameters,
        galore_state_values,
        adam_state_values,
        lora_state_values,
        galore_saving,
        time_ratio,
        ia3_parameters,
        key_width,
        hidden_width,
        prompt_parameters,
        prefix_parameters,
        prefix_encoder_parameters,
        p_tuning_parameters,
        peft_lokr_parameters,
        bottleneck_module_parameters,
        bottleneck_parameters,
        bottleneck_share_percent,
        prefix_share_percent,
        norm_parameters,
        bias_parameters,
        adapter_block_share_percent,
        ewc_term,
        ewc_penalty,
        ewc_optimum,
        unweighted_optimum,
        joint_training_tokens,
        replay_training_tokens,
        backward_transfer,
        average_accuracy,
        random_similarity,
    )
}
