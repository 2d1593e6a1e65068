"""Training and evaluation: step counts, schedules, first updates, number formats, and what a score leaves uncertain.

Every function is pure. Scores and shares are in percent, several scores are one string with commas (`71.2,70.4`).
"""

import math
from collections.abc import Callable
from statistics import NormalDist, fmean, stdev

from scipy.special import stdtrit

from labs.formulas.lora import (
    ALL_LINEAR,
    in_unit,
    lora_parameters,
    lora_scale,
    model_shape,
    target_shapes,
    trainable_bytes,
)

NORMAL = NormalDist()

# Steps


def effective_batch(per_device: int, accumulation: int, devices: int = 1) -> int:
    """Samples that one optimizer step averages over."""
    return per_device * accumulation * devices


def steps_in_epoch(samples: int, batch: int) -> int:
    """Optimizer steps in one pass over the data; the last batch may be smaller."""
    return math.ceil(samples / batch)


def optimizer_steps(samples: int, batch: int, epochs: int) -> int:
    """Optimizer steps of a whole run with `batch` samples a step."""
    return epochs * steps_in_epoch(samples, batch)


def warmup_steps(steps: int, percent: float) -> int:
    """Steps of linear warm-up for a share of all steps, rounded up as in transformers' TrainingArguments."""
    return math.ceil(steps * percent / 100 - 1e-9)


def cosine_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Learning rate at `step`: linear to `peak` in `warmup` steps, then half a cosine to 0."""
    if step < warmup:
        return peak * step / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def linear_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Learning rate at `step`: linear to `peak` in `warmup` steps, then linear to 0."""
    if step < warmup:
        return peak * step / warmup
    return peak * (steps - step) / (steps - warmup)


def times(a: float, b: float) -> float:
    """a times b, for a ratio of learning rates and other single multiplications."""
    return a * b


def share_of(a: float, b: float) -> float:
    """a over b."""
    return a / b


# Adapters


def block_count(model: str) -> int:
    """Transformer blocks of a model."""
    return model_shape(model).layers


def target_inputs(model: str, targets: str) -> int:
    """Sum of d_in over the target layers of one block."""
    return sum(d_in for _, d_in in target_shapes(model, targets))


def target_outputs(model: str, targets: str) -> int:
    """Sum of d_out over the target layers of one block."""
    return sum(d_out for d_out, _ in target_shapes(model, targets))


def target_count(model: str, targets: str) -> int:
    """Target layers of one block."""
    return len(target_shapes(model, targets))


def dora_magnitudes(model: str, targets: str) -> int:
    """One magnitude an output of each target layer, over all blocks."""
    return block_count(model) * target_outputs(model, targets)


def alpha_for_rank(rank: int, alpha: float, new_rank: int, rule: str = "standard") -> float:
    """The alpha that keeps the scale of (rank, alpha) at `new_rank` under `rule`."""
    return lora_scale(rank, alpha, rule) / lora_scale(new_rank, 1, rule)


def dora_adapter_parameters(model: str, targets: str, rank: int) -> int:
    """LoRA's A and B and one trained magnitude an output of each target layer, as PEFT implements DoRA."""
    return lora_parameters(model, targets, rank) + dora_magnitudes(model, targets)


def adalora_adapter_parameters(model: str, targets: str, initial_rank: int) -> int:
    """P (d_out x r), Q (r x d_in) and r singular values a layer at the start (Zhang et al. 2023, section 3.1)."""
    values = block_count(model) * target_count(model, targets) * initial_rank
    return lora_parameters(model, targets, initial_rank) + values


def rank_for_budget(model: str, targets: str, budget: int) -> int:
    """The largest rank on `targets` whose LoRA has at most `budget` parameters."""
    return budget // lora_parameters(model, targets, 1)


def adapter_training_size(model: str, targets: str, rank: int, unit: str = "GB") -> float:
    """Weights, gradients and Adam's moments of the adapter alone, all in fp32: 16 bytes a parameter."""
    return in_unit(trainable_bytes(lora_parameters(model, targets, rank), "fp32", "fp32"), unit)


def adapter_size_difference(
    model: str, targets: str, rank: int, other_targets: str, *, other_rank: int, unit: str = "GB"
) -> float:
    """Training bytes that the adapter (other_targets, other_rank) needs beyond (targets, rank)."""
    larger = adapter_training_size(model, other_targets, other_rank, unit)
    return larger - adapter_training_size(model, targets, rank, unit)


def adapter_capacity_bits(model: str, rank: int, targets: str = ALL_LINEAR, bits_per_parameter: float = 2) -> float:
    """What an adapter can store at the 2 bits a parameter that Allen-Zhu and Li 2024 measured for whole models."""
    return bits_per_parameter * lora_parameters(model, targets, rank)


def data_bits(tokens: float, loss: float) -> float:
    """Upper bound on what `tokens` trained tokens teach: their loss (nats a token) before training, in bits."""
    return tokens * loss / math.log(2)


def data_over_capacity(tokens: float, loss: float, model: str, rank: int) -> float:
    """How many times the data's bits fill an all-linear adapter."""
    return data_bits(tokens, loss) / adapter_capacity_bits(model, rank)


def reward_bits(prompts: int, samples: int) -> int:
    """At most one bit an episode from a right-or-wrong reward (Schulman et al. 2025, section on RL)."""
    return prompts * samples


# Initialisation and the first update


def kaiming_uniform_deviation(fan_in: int, negative_slope: float) -> float:
    """Standard deviation of `kaiming_uniform_`: the bound over sqrt(3), sqrt(2 / ((1 + a^2) fan_in))."""
    return math.sqrt(2 / ((1 + negative_slope**2) * fan_in))


def first_update_size(rate: float, rank: int, alpha: float, d_in: int, rule: str = "standard") -> float:
    """Root mean square entry of s BA after one Adam step from PEFT's start.

    Each entry of B (d_out x r) has moved by the rate, with signs taken as independent of A; A's entries have the
    variance 1 / (3 d_in), and r of them are summed.
    """
    return lora_scale(rank, alpha, rule) * rate * math.sqrt(rank / (3 * d_in))


def first_update_share_percent(rank: int, alpha: float, d_in: int, rule: str = "standard") -> float:
    """LoRA's first change of a weight in percent of that of full fine-tuning with Adam at the same rate."""
    return 100 * first_update_size(1.0, rank, alpha, d_in, rule)


def bypass_output(a: float, b: float, x: float = 1.0, scale: float = 2.0) -> float:
    """s b a x: what a LoRA of rank 1 on a layer of width 1 adds. Matrices follow the same algebra."""
    return scale * b * a * x


def gradient_of_a(a: float, b: float, x: float = 1.0, *, upstream: float = 1.0, scale: float = 2.0) -> float:
    """dL/da = s b g x for the gradient g = `upstream` of the output; `a` itself does not enter."""
    return scale * b * upstream * x


def gradient_of_b(a: float, b: float, x: float = 1.0, *, upstream: float = 1.0, scale: float = 2.0) -> float:
    """dL/db = s g a x; `b` itself does not enter."""
    return scale * upstream * a * x


def gradient_of_a_in_the_second_step(a: float, rate: float, x: float = 1.0) -> float:
    """dL/da after one gradient-descent step from (a, 0), upstream gradient 1 in both steps."""
    return gradient_of_a(a, -rate * gradient_of_b(a, 0.0, x), x)


def random_projection_cosine(rank: int, d_in: int) -> float:
    """Cosine between G and its projection on r random input directions: sqrt(r / d_in) for a G without preference.

    With B = 0 and gradient descent LoRA's first step is -rate s^2 G A^T A; rows of a random A are nearly orthogonal.
    """
    return math.sqrt(rank / d_in)


# Number formats


def bf16_spacing(value: float) -> float:
    """Distance between neighbouring bfloat16 numbers at `value`: 8 significant bits (7 stored)."""
    return 2.0 ** (math.floor(math.log2(abs(value))) - 7)


def bf16_smallest_step(value: float) -> float:
    """Half the spacing: steps below it are lost when added to `value` in bfloat16."""
    return bf16_spacing(value) / 2


def bf16_step_share(value: float, step: float) -> float:
    """A step over half the spacing at `value`: below 1 the sum rounds back to `value` and nothing is learned."""
    return step / bf16_smallest_step(value)


# What a score leaves uncertain


def score_standard_error(score: float, questions: int) -> float:
    """Standard error of an accuracy over independent questions, in points: 100 sqrt(p (1 - p) / n)."""
    share = score / 100
    return 100 * math.sqrt(share * (1 - share) / questions)


def score_half_width(score: float, questions: int, confidence: float = 0.95) -> float:
    """Half the normal-approximation interval of an accuracy, in points."""
    return NORMAL.inv_cdf((1 + confidence) / 2) * score_standard_error(score, questions)


def unpaired_difference_error(score: float, other: float, questions: int) -> float:
    """Standard error of a difference of two accuracies on different sets of `questions`, in points."""
    return math.hypot(score_standard_error(score, questions), score_standard_error(other, questions))


def unpaired_z(score: float, other: float, questions: int) -> float:
    """`other` minus `score`, accuracies in percent, in standard errors of a difference of two unpaired scores."""
    return (other - score) / unpaired_difference_error(score, other, questions)


def paired_difference_error(only_first: int, only_second: int, questions: int) -> float:
    """Standard error of the difference on the same questions, in points (McNemar; Miller 2024).

    `only_first`: questions that only the first model solves, `only_second`: only the second.
    """
    b, c = only_first / questions, only_second / questions
    return 100 * math.sqrt((b + c - (b - c) ** 2) / questions)


def paired_difference(only_first: int, only_second: int, questions: int) -> float:
    """First minus second accuracy on the same questions, in points."""
    return 100 * (only_first - only_second) / questions


def paired_z(only_first: int, only_second: int, questions: int) -> float:
    """The paired difference in standard errors."""
    error = paired_difference_error(only_first, only_second, questions)
    return paired_difference(only_first, only_second, questions) / error


def questions_for_half_width(score: float, half_width: float, confidence: float = 0.95) -> int:
    """Independent questions that an accuracy near `score` needs for an interval of +- `half_width` points."""
    share, z = score / 100, NORMAL.inv_cdf((1 + confidence) / 2)
    return math.ceil(share * (1 - share) * (100 * z / half_width) ** 2 - 1e-9)


def numbers(values: str) -> list[float]:
    """The numbers in `71.2,70.4`; ValueError for fewer than two."""
    found = [float(value) for value in values.split(",")]
    if len(found) < 2:
        raise ValueError(f"Invalid scores {values!r}: a spread needs at least two")
    return found


def seed_mean(scores: str) -> float:
    """Mean of the scores."""
    return fmean(numbers(scores))


def seed_deviation(scores: str) -> float:
    """Sample standard deviation (n - 1) of the scores."""
    return stdev(numbers(scores))


def student_factor(n: int, confidence: float = 0.95) -> float:
    """Quantile of Student's t with n - 1 degrees of freedom for a two-sided interval."""
    return float(stdtrit(n - 1, (1 + confidence) / 2))


def seed_half_width(scores: str, confidence: float = 0.95) -> float:
    """Half of the t-interval of the mean over seeds: t s / sqrt(n)."""
    n = len(numbers(scores))
    return student_factor(n, confidence) * seed_deviation(scores) / math.sqrt(n)


def half_width_of_deviation(deviation: float, n: int, factor: float) -> float:
    """factor times s / sqrt(n): an interval from a given deviation."""
    return factor * deviation / math.sqrt(n)


def best_of_noise(runs: int, deviation: float = 1.0) -> float:
    """Expected maximum of `runs` independent normal scores above their mean, by the trapezoidal rule."""
    step, reach = 0.001, 8000
    tail = sum(1 - NORMAL.cdf(x * step) ** runs - NORMAL.cdf(-x * step) ** runs for x in range(1, reach))
    return deviation * step * (tail + (1 - 2 * 0.5**runs) / 2)


def kept_gain_percent(base: float, full: float, lora: float) -> float:
    """LoRA's gain over the base model in percent of full fine-tuning's gain."""
    return 100 * (lora - base) / (full - base)


def kept_score_percent(full: float, lora: float) -> float:
    """LoRA's score in percent of full fine-tuning's."""
    return 100 * lora / full


def chance_corrected_percent(score: float, choices: int) -> float:
    """An accuracy with guessing taken off: 0 at chance, 100 when everything is right."""
    chance = 100 / choices
    return 100 * (score - chance) / (100 - chance)


def sweep_runs(rates: int, ranks: int, seeds: int) -> int:
    """Runs of a full grid."""
    return rates * ranks * seeds


FORMULAS: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        effective_batch,
        steps_in_epoch,
        optimizer_steps,
        warmup_steps,
        cosine_rate,
        linear_rate,
        times,
        share_of,
        block_count,
        target_inputs,
        target_outputs,
        target_count,
        dora_magnitudes,
        alpha_for_rank,
        dora_adapter_parameters,
        adalora_adapter_parameters,
        rank_for_budget,
        adapter_training_size,
        adapter_size_difference,
        adapter_capacity_bits,
        data_bits,
        data_over_capacity,
        reward_bits,
        kaiming_uniform_deviation,
        first_update_size,
        first_update_share_percent,
        bypass_output,
        gradient_of_a,
        gradient_of_b,
        gradient_of_a_in_the_second_step,
        random_projection_cosine,
        bf16_spacing,
        bf16_smallest_step,
        bf16_step_share,
        score_standard_error,
        score_half_width,
        unpaired_difference_error,
        unpaired_z,
        paired_difference_error,
        paired_difference,
        paired_z,
        questions_for_half_width,
        seed_mean,
        seed_deviation,
        student_factor,
        seed_half_width,
        half_width_of_deviation,
        best_of_noise,
        kept_gain_percent,
        kept_score_percent,
        chance_corrected_percent,
        sweep_runs,
    )
}
