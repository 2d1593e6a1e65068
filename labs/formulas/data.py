"""Data and training signals: batches and mixtures, selection scores, preference losses, distillation.

Every function is pure, and every argument is an int, a float or a string, so that a content file can name it.
"""

import math
from collections.abc import Callable

# Batches and mixtures


def epoch_steps(samples: int, batch: int, accumulation: int = 1, devices: int = 1) -> int:
    """Optimizer steps of one data-parallel pass; the last, smaller batch counts."""
    return math.ceil(samples / (batch * accumulation * devices))


def mixed_in_samples(samples: int, share_percent: float) -> float:
    """How many samples to add to `samples` so that the added ones are `share_percent` of the whole."""
    return samples * share_percent / (100 - share_percent)


def source_passes(total_tokens: float, share_percent: float, source_tokens: float) -> float:
    """How often a source is repeated when it has to fill `share_percent` of all training tokens."""
    return total_tokens * share_percent / 100 / source_tokens


def padding_percent(mean_tokens: float, padded_tokens: float) -> float:
    """Positions that hold padding, in percent, when samples of `mean_tokens` are padded to `padded_tokens`."""
    return 100 * (1 - mean_tokens / padded_tokens)


def response_share_percent(prompt_tokens: float, response_tokens: float) -> float:
    """Tokens that carry loss when the prompt is masked, in percent."""
    return 100 * response_tokens / (prompt_tokens + response_tokens)


# Selection and de-duplication


def ifd_score(conditioned_loss: float, direct_loss: float) -> float:
    """Instruction-following difficulty: loss of the answer given the instruction over its loss alone.

    Li et al. 2023, section 2: both are mean cross-entropies a token, in nats.
    """
    return conditioned_loss / direct_loss


def listed(items: str) -> int:
    """Items of a list that is written with commas, so that a count shows what was counted."""
    return len([item for item in items.split(",") if item.strip()])


def perplexity(loss: float) -> float:
    """The exponential of a mean cross-entropy a token in nats."""
    return math.exp(loss)


def perplexity_ratio(conditioned_loss: float, direct_loss: float) -> float:
    """Perplexity of the answer given the instruction over its perplexity alone."""
    return perplexity(conditioned_loss - direct_loss)


def lsh_candidate_percent(similarity: float, bands: int, rows: int) -> float:
    """Chance in percent that two sets of Jaccard `similarity` share a MinHash band: 1 - (1 - s^rows)^bands."""
    return float(100 * (1 - (1 - similarity**rows) ** bands))


# Preferences and rewards


def preference_probability(reward_gap: float) -> float:
    """Bradley-Terry: chance that the better-rewarded answer is preferred, the sigmoid of the gap."""
    return 1 / (1 + math.exp(-reward_gap))


def dpo_margin(beta: float, chosen_log_ratio: float, rejected_log_ratio: float) -> float:
    """Gap of the implicit rewards beta log(policy / reference) of both answers (Rafailov et al. 2023, equation 7)."""
    return beta * (chosen_log_ratio - rejected_log_ratio)


def dpo_loss(beta: float, chosen_log_ratio: float, rejected_log_ratio: float) -> float:
    """DPO loss of one pair in nats: minus the log-sigmoid of the margin."""
    return math.log1p(math.exp(-dpo_margin(beta, chosen_log_ratio, rejected_log_ratio)))


def dpo_gradient_weight(beta: float, chosen_log_ratio: float, rejected_log_ratio: float) -> float:
    """The weight of a pair in DPO's gradient: how wrong the implicit reward still is, sigmoid(-margin)."""
    return preference_probability(-dpo_margin(beta, chosen_log_ratio, rejected_log_ratio))


def group_advantage(correct: int, group: int) -> float:
    """GRPO advantage of a correct answer where `correct` of `group` get reward 1 and the others 0.

    Shao et al. 2024, section 4.1: (reward - mean) / standard deviation of the group (population form here).
    """
    share = correct / group
    return (1 - share) / math.sqrt(share * (1 - share))


# Distillation, two classes: a distribution is given by its logit gap


def tempered_probability(logit_gap: float, temperature: float = 1.0) -> float:
    """Probability of the first of two classes after dividing the logits by the temperature (Hinton et al. 2015)."""
    return preference_probability(logit_gap / temperature)


def tempered_kl(teacher_gap: float, student_gap: float, temperature: float = 1.0) -> float:
    """KL(teacher || student) in nats of two two-class distributions at a temperature."""
    total = 0.0
    for sign in (1, -1):  # of the second class, too, the probability itself: 1 - p would lose its digits
        p = tempered_probability(sign * teacher_gap, temperature)
        q = tempered_probability(sign * student_gap, temperature)
        total += p * math.log(p / q)
    return total


def reverse_kl(teacher_gap: float, student_gap: float) -> float:
    """KL(student || teacher) in nats of two two-class distributions."""
    return tempered_kl(student_gap, teacher_gap)


FORMULAS: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        epoch_steps,
        mixed_in_samples,
        source_passes,
        padding_percent,
        response_share_percent,
        ifd_score,
        listed,
        perplexity,
        perplexity_ratio,
        lsh_candidate_percent,
        preference_probability,
        dpo_margin,
        dpo_loss,
        dpo_gradient_weight,
        group_advantage,
        tempered_probability,
        tempered_kl,
        reverse_kl,
    )
}
