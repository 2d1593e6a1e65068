"""Adapters of two ranks and two seeds: the subspaces they share, and what the weight has in their directions.

Hu et al. 2021, "LoRA", sections 7.2 and 7.3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from labs.catalog.subspace import SubspaceParameters
from worker.adapters import Adapter, adapter_weights, add_adapter
from worker.context import RunContext
from worker.training.config import usual_config
from worker.training.examples import FactExamples, encode_facts
from worker.training.loop import train
from worker.training.loss import evaluate
from worker.training.outcomes import Diverged


class Directions(NamedTuple):
    """The singular value decomposition of a matrix of rank r."""

    left: Tensor  # (out, r)
    values: Tensor  # (r,), falling
    right: Tensor  # (in, r)


@dataclass(frozen=True)
class Update:
    """One layer's s·B·A, with A's own right singular vectors, and the weight that it is added to."""

    directions: Directions
    of_a: Tensor  # (in, r)
    weight: Tensor  # (out, in)


@dataclass(frozen=True)
class Trained:
    updates: dict[str, Update]  # by the layer's name
    validation_loss: float


def run(params: SubspaceParameters, lab: RunContext) -> None:
    left = [seed for seed in lab.seeds if not lab.point(seed=seed).is_finished]
    if not left:
        return
    model, examples = lab.model(params.model), encode_facts(lab.data("facts"), lab.tokenizer(params.model))
    for seed in left:
        # Adapters: small, large, and large again from other starting values with another order of the data.
        wanted = ((params.small_rank, 0), (params.large_rank, 1), (params.large_rank, 2))
        trained = []
        try:
            for rank, version in wanted:
                done = 3 * lab.seeds.index(seed) + version
                lab.progress(done, 3 * len(lab.seeds), f"seed {seed}: r = {rank}")
                trained.append(train_adapter(params, model, examples, rank, 3 * seed + version))
        except Diverged:
            log_outcome(lab, seed, diverged=1)
            continue
        small, large, other = trained
        log_similarities(lab, seed, "ranks", small, large)
        log_similarities(lab, seed, "seeds", large, other)
        log_random(lab, seed, small, large)
        for rank, found in ((params.small_rank, small), (params.large_rank, large)):
            log_amplification(lab, seed, rank, found)
        log_outcome(lab, seed, diverged=0)
    lab.progress(1, 1)


def log_outcome(lab: RunContext, seed: int, diverged: int) -> None:
    """What is logged last for a seed."""
    with lab.point(seed=seed) as point:
        point.log("diverged", diverged)


def train_adapter(
    params: SubspaceParameters, model: PreTrainedModel, examples: FactExamples, rank: int, seed: int
) -> Trained:
    """The base is as before when this returns."""
    config = usual_config(params, seed)
    adapter = Adapter(rank, params.alpha, params.target_modules, seed)
    adapted = add_adapter(model, adapter)
    try:
        train(model, examples.training, config)
        updates = {
            name: make_update(a.detach(), b.detach(), adapter.scale, model.get_submodule(name).base_layer.weight)  # type: ignore[arg-type, union-attr]
            for name, (a, b) in adapter_weights(adapted).items()
        }
        return Trained(updates, evaluate(model, examples.validation).loss)
    finally:
        adapted.unload()


# --- linear algebra ---------------------------------------------------------------------------------------------------


def make_update(a: Tensor, b: Tensor, scale: float, weight: Tensor) -> Update:
    """A (r, in), B (out, r)."""
    a, b = a.double(), b.double()
    return Update(decompose(scale * b, a), decompose(torch.eye(len(a), dtype=a.dtype), a).right, weight.detach())


def decompose(b: Tensor, a: Tensor) -> Directions:
    """Of B A, without forming it: B = Q R, and R A is small."""
    q, r = torch.linalg.qr(b)
    left, values, right = torch.linalg.svd(r @ a, full_matrices=False)
    return Directions(q @ left, values, right.T)


def similarity(first: Tensor, second: Tensor, i: int, j: int) -> float:
    """φ of section 7.2 for orthonormal columns: 1 if the smaller span lies in the larger, 0 if they are orthogonal."""
    return ((first[:, :i].T @ second[:, :j]).square().sum() / min(i, j)).item()


def random_directions(width: int, rank: int, generator: torch.Generator) -> Tensor:
    """(width, rank) orthonormal, uniformly distributed."""
    return torch.linalg.qr(torch.randn(width, rank, generator=generator, dtype=torch.float64)).Q


def random_like(directions: Tensor, generator: torch.Generator) -> Tensor:
    width, rank = directions.shape
    return random_directions(width, rank, generator)


def projected_norm(weight: Tensor, left: Tensor, right: Tensor) -> float:
    """‖Uᵀ W V‖ in the Frobenius norm (section 7.3)."""
    return torch.linalg.matrix_norm(left.T @ weight.double() @ right).item()


# --- results ----------------------------------------------------------------------------------------------------------


def sizes(first: int, second: int) -> Iterator[tuple[int, int]]:
    """i and j up to the two ranks: powers of two, and the ranks."""

    def up_to(rank: int) -> list[int]:
        return sorted({2**n for n in range(rank.bit_length()) if 2**n <= rank} | {rank})

    return ((i, j) for i in up_to(first) for j in up_to(second))


def log_similarities(lab: RunContext, seed: int, comparison: str, first: Trained, second: Trained) -> None:
    for matrix in ("update", "A"):
        pairs = [
            (one.directions.right, other.directions.right) if matrix == "update" else (one.of_a, other.of_a)
            for one, other in zip(first.updates.values(), second.updates.values(), strict=True)
        ]
        log_means(lab, seed, comparison, matrix, pairs)


def log_random(lab: RunContext, seed: int, first: Trained, second: Trained) -> None:
    """What subspaces of the same sizes share by chance."""
    generator = torch.Generator().manual_seed(seed)
    pairs = [
        (random_like(one.of_a, generator), random_like(other.of_a, generator))
        for one, other in zip(first.updates.values(), second.updates.values(), strict=True)
    ]
    for matrix in ("update", "A"):
        log_means(lab, seed, "random", matrix, pairs)


def log_means(lab: RunContext, seed: int, comparison: str, matrix: str, pairs: list[tuple[Tensor, Tensor]]) -> None:
    """The mean over layers for each i and j."""
    ranks = pairs[0][0].shape[1], pairs[0][1].shape[1]
    for i, j in sizes(*ranks):
        with lab.point(seed=seed, comparison=comparison, matrix=matrix, i=i, j=j) as point:
            if not point.is_finished:
                point.log("similarity", fmean(similarity(u, v, i, j) for u, v in pairs))


def log_amplification(lab: RunContext, seed: int, rank: int, trained: Trained) -> None:
    """Means over layers of norms, and of their ratio."""
    generator = torch.Generator().manual_seed(seed)
    norms: dict[str, list[float]] = {"update": [], "weight": [], "random": []}
    for update in trained.updates.values():
        out, width = update.weight.shape
        left, _, right = torch.linalg.svd(update.weight.double(), full_matrices=False)
        found = {
            "update": (update.directions.left, update.directions.right),
            "weight": (left[:, :rank], right[:rank].T),
            "random": (random_directions(out, rank, generator), random_directions(width, rank, generator)),
        }
        for name, (u, v) in found.items():
            norms[name].append(projected_norm(update.weight, u, v))
    update_norms = [torch.linalg.vector_norm(u.directions.values).item() for u in trained.updates.values()]
    for name, projected in norms.items():
        with lab.point(seed=seed, rank=rank, directions=name) as point:
            if not point.is_finished:
                point.log("projected_norm", fmean(projected))
                point.log("amplification", fmean(u / p for u, p in zip(update_norms, projected, strict=True)))
    with lab.point(seed=seed, rank=rank) as point:
        if not point.is_finished:
            point.log("update_norm", fmean(update_norms))
            point.log("weight_norm", fmean(u.weight.double().norm().item() for u in trained.updates.values()))
            point.log("validation_loss", trained.validation_loss)
