"""Linear algebra behind LoRA: ranks, degrees of freedom, order of multiplication, truncation, projections.

Singular values are given as text in descending or any order (`8,4,2,1`), so that a claim can name them with JSON.
"""

import math
from collections.abc import Callable

from labs.formulas.lora import lora_layer_parameters, lora_parameters, model_shape, target_shapes


def quotient(numerator: float, denominator: float) -> float:
    """A step of a worked solution."""
    return numerator / denominator


def layer_inputs(model: str, target: str) -> int:
    """d_in of one linear layer of a block."""
    return target_shapes(model, target)[0][1]


def layer_outputs(model: str, target: str) -> int:
    """d_out of one linear layer of a block."""
    return target_shapes(model, target)[0][0]


# What a layer trains and stores


def unfrozen_layer_parameters(d_in: int, d_out: int, rank: int) -> int:
    """Trained numbers of a linear layer with bias and an adapter when nobody froze the layer: all of them."""
    return d_in * d_out + d_out + lora_layer_parameters(d_in, d_out, rank)


def stored_input_share(d_in: int, rank: int, trains_a: bool = True) -> float:
    """Values a token that LoRA stores for its weight gradients, over those of full fine-tuning of the same layer.

    The gradient of W needs the layer's input (d_in values). That of A needs the same input, and that of B needs Ax
    (rank values); with a frozen A only Ax is left.
    """
    return (d_in * trains_a + rank) / d_in


# Ranks and degrees of freedom


def break_even_rank(d_in: int, d_out: int) -> float:
    """The rank at which A and B together have as many parameters as the layer: d_in d_out / (d_in + d_out)."""
    return d_in * d_out / (d_in + d_out)


def sum_rank_bound(first: int, second: int, third: int, d_in: int, d_out: int) -> int:
    """The highest rank that a sum of three updates can have: ranks add up, as far as the layer is wide."""
    return min(first + second + third, d_in, d_out)


def low_rank_dimensions(d_in: int, d_out: int, rank: int) -> int:
    """Degrees of freedom of a d_out x d_in matrix of `rank`: r (d_in + d_out - r).

    B A = (B M^-1)(M A) for every invertible M, so r^2 of the numbers in A and B are free choices (Absil et al. 2008).
    """
    return rank * (d_in + d_out - rank)


def gauge_share_percent(d_in: int, d_out: int, rank: int) -> float:
    """The part of A's and B's parameters that changes nothing in BA, in percent: r^2 of r (d_in + d_out)."""
    parameters = lora_layer_parameters(d_in, d_out, rank)
    return 100 * (parameters - low_rank_dimensions(d_in, d_out, rank)) / parameters


def frozen_a_parameters(model: str, targets: str, rank: int) -> int:
    """What is trained when A stays at its random start (Zhang et al. 2023, LoRA-FA): r d_out a layer."""
    return model_shape(model).layers * sum(rank * d_out for d_out, _ in target_shapes(model, targets))


def frozen_a_share_percent(model: str, targets: str, rank: int) -> float:
    """Trained parameters with A frozen, in percent of those of plain LoRA."""
    return 100 * frozen_a_parameters(model, targets, rank) / lora_parameters(model, targets, rank)


# Order of multiplication


def bypass_multiplications(d_in: int, d_out: int, rank: int, tokens: int = 1) -> int:
    """Multiplications of B(Ax) for `tokens` inputs."""
    return tokens * lora_layer_parameters(d_in, d_out, rank)


def product_first_multiplications(d_in: int, d_out: int, rank: int, tokens: int = 1) -> int:
    """Multiplications of (BA)x: r d_in d_out for the product once, d_in d_out for each of `tokens` inputs."""
    return (rank + tokens) * d_in * d_out


def product_first_ratio(d_in: int, d_out: int, rank: int, tokens: int = 1) -> float:
    """How many times more multiplications (BA)x takes than B(Ax)."""
    ratio = product_first_multiplications(d_in, d_out, rank, tokens)
    return ratio / bypass_multiplications(d_in, d_out, rank, tokens)


# Singular values


def squares(singular_values: str) -> list[float]:
    """The squared singular values, largest first; their sum is the squared Frobenius norm."""
    return sorted((float(value) ** 2 for value in singular_values.split(",")), reverse=True)


def truncation_error_percent(singular_values: str, rank: int) -> float:
    """Frobenius error of the best approximation of `rank`, in percent of the norm (Eckart and Young 1936)."""
    energy = squares(singular_values)
    return 100 * math.sqrt(sum(energy[rank:]) / sum(energy))


def kept_energy_percent(singular_values: str, rank: int) -> float:
    """The squared norm that the first `rank` directions hold, in percent ("explained variance")."""
    energy = squares(singular_values)
    return 100 * sum(energy[:rank]) / sum(energy)


def effective_rank(singular_values: str, share_percent: float) -> int:
    """The smallest number of directions that hold `share_percent` of the squared norm."""
    for rank in range(1, len(squares(singular_values)) + 1):
        if kept_energy_percent(singular_values, rank) >= share_percent - 1e-9:
            return rank
    raise ValueError(f"share_percent is at most 100 (given: {share_percent})")


def stable_rank(singular_values: str) -> float:
    """Squared Frobenius norm over squared spectral norm: between 1 and the rank (Rudelson and Vershynin 2007)."""
    energy = squares(singular_values)
    return sum(energy) / energy[0]


def truncated_storage_percent(rows: int, columns: int, rank: int) -> float:
    """Numbers that a truncated SVD of a rows x columns matrix takes, k (rows + columns + 1), in percent of all."""
    return 100 * rank * (rows + columns + 1) / (rows * columns)


# Subspaces


def projection_share_percent(dimensions: int, parameters: float) -> float:
    """Trained numbers of a random-subspace run, in percent of the model's parameters (Aghajanyan et al. 2020)."""
    return 100 * dimensions / parameters


def amplification_factor(update_norm: float, projected_norm: float) -> float:
    """How many times the update is larger than W in the update's own directions (Hu et al. 2021, section 7.3).

    ||dW||_F over ||U^T W V||_F, where U and V are the left and right singular vectors of dW.
    """
    return update_norm / projected_norm


def random_projection_norm(norm: float, rank: int, d_in: int, d_out: int) -> float:
    """||U^T W V||_F for random U, V with `rank` orthonormal columns, root mean square: ||W||_F r / sqrt(d_in d_out)."""
    return norm * rank / math.sqrt(d_in * d_out)


FORMULAS: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        quotient,
        layer_inputs,
        layer_outputs,
        unfrozen_layer_parameters,
        stored_input_share,
        break_even_rank,
        sum_rank_bound,
        low_rank_dimensions,
        gauge_share_percent,
        frozen_a_parameters,
        frozen_a_share_percent,
        bypass_multiplications,
        product_first_multiplications,
        product_first_ratio,
        truncation_error_percent,
        kept_energy_percent,
        effective_rank,
        stable_rank,
        truncated_storage_percent,
        projection_share_percent,
        amplification_factor,
        random_projection_norm,
    )
}
