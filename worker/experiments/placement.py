"""Adapters on different projections, at equal numbers of parameters and at equal rank."""

from typing import get_args

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from labs.catalog.placement import MODULES, Equal, Placement, PlacementParameters
from labs.points import parse_point
from worker.adapters import Adapter, trainable_parameters
from worker.context import Point, RunContext
from worker.training.examples import encode_facts
from worker.training.packed import Configuration, Trained
from worker.trials import Trial, log_best, losses_by_rate, run_trials, training_config


def run(params: PlacementParameters, lab: RunContext) -> None:
    model = lab.model(params.model)
    examples = encode_facts(lab.data("facts"), lab.tokenizer(params.model))
    ranks = {(equal, p): choose_rank(model, params, equal, p) for equal in get_args(Equal) for p in params.placements}
    trials = [trial for seed in lab.seeds for trial in seed_trials(params, lab, seed, ranks)]
    run_trials(lab, model, examples, trials, log_parameters)
    budget = params.rank * parameters_per_rank(model, "all")
    for seed in lab.seeds:
        if "all" in params.placements:
            copy_all(params, lab, seed)
        for (equal, placement), rank in ranks.items():
            log_placement(params, lab.point(seed=seed, equal=equal, placement=placement), lab, rank=rank, budget=budget)
        for equal in get_args(Equal):
            log_comparisons(params, lab, seed, equal)
    lab.progress(len(trials), len(trials))


def parameters_per_rank(model: PreTrainedModel, placement: Placement) -> int:
    """What an adapter of rank 1 has: inputs and outputs of all its matrices."""
    names = MODULES[placement].split(",")
    layers = (module for name, module in model.named_modules() if name.rsplit(".", 1)[-1] in names)
    return sum(layer.in_features + layer.out_features for layer in layers if isinstance(layer, nn.Linear))


def choose_rank(model: PreTrainedModel, params: PlacementParameters, equal: Equal, placement: Placement) -> int:
    """At equal parameters the rank that comes closest to what all linear layers have."""
    if equal == "rank":
        return params.rank
    return max(1, round(params.rank * parameters_per_rank(model, "all") / parameters_per_rank(model, placement)))


def seed_trials(
    params: PlacementParameters, lab: RunContext, seed: int, ranks: dict[tuple[Equal, Placement], int]
) -> list[Trial]:
    """Rates innermost, so that packs hold few kinds of adapters. All linear layers are trained once: see copy_all."""
    return [
        Trial(
            lab.point(seed=seed, equal=equal, placement=placement, rate=rate),
            Configuration(
                Adapter(rank, params.alpha, MODULES[placement], seed),
                training_config(steps=params.steps, batch_size=params.batch_size, rate=rate, seed=seed),
            ),
        )
        for (equal, placement), rank in ranks.items()
        for rate in params.learning_rates
        if (equal, placement) != ("rank", "all")
    ]


def log_parameters(point: Point, trained: Trained, adapted: PeftModel) -> None:
    point.log("counted_parameters", trainable_parameters(adapted))


def copy_all(params: PlacementParameters, lab: RunContext, seed: int) -> None:
    """All linear layers are the same adapter at equal rank as at equal parameters."""
    for rate in params.learning_rates:
        with lab.point(seed=seed, equal="rank", placement="all", rate=rate) as point:
            if point.is_due:
                point.copy_from(lab.point(seed=seed, equal="parameters", placement="all", rate=rate))


def log_placement(params: PlacementParameters, point: Point, lab: RunContext, *, rank: int, budget: int) -> None:
    """The best rate of a placement, and what its adapter has."""
    with point:
        if not point.is_due:
            return
        settings = parse_point(point.key)
        best = log_best(point, losses_by_rate(lab, point.seed, params.learning_rates, **settings))
        point.log("rank", rank)
        if best is not None:
            count = lab.point(seed=point.seed, rate=best, **settings).value("counted_parameters")
            point.log("trainable_parameters", count)
            point.log("parameter_deviation", 100 * (count / budget - 1))


def log_comparisons(params: PlacementParameters, lab: RunContext, seed: int, equal: Equal) -> None:
    """Differences between placements that saw the same data in the same order."""
    points = {p: lab.point(seed=seed, equal=equal, placement=p) for p in params.placements}
    losses = {p: point.value("best_loss") for p, point in points.items() if not point.value("diverged")}
    with lab.point(seed=seed, equal=equal) as point:
        if point.is_due and {"mlp", "q+k+v+o"} <= losses.keys():
            point.log("mlp_advantage", losses["q+k+v+o"] - losses["mlp"])
    for placement in losses.keys() - {"all"} if "all" in losses else ():
        with lab.point(seed=seed, equal=equal, placement=placement, against="all") as point:
            if point.is_due:
                point.log("loss_behind_all", losses[placement] - losses["all"])
