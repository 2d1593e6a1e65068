"""Adapters of several ranks under several scaling rules: gradient, size of the update, best learning rate, loss."""

import math

from peft import PeftModel

from labs.catalog.scaling import Rule, ScalingParameters, configurations, factor
from worker.adapters import Adapter
from worker.context import Point, RunContext
from worker.training.examples import encode_facts
from worker.training.packed import Configuration, Trained
from worker.training.packed_layers import Weights
from worker.trials import Trial, log_best, losses_by_rate, run_trials, training_config


def run(params: ScalingParameters, lab: RunContext) -> None:
    model = lab.model(params.model)
    examples = encode_facts(lab.data("facts"), lab.tokenizer(params.model))
    trials = [trial for seed in lab.seeds for trial in seed_trials(params, lab, seed)]
    run_trials(lab, model, examples, trials, log_norms)
    for seed in lab.seeds:
        for rank, rules in configurations(params):
            for rule in rules:
                if rule != rules[0]:
                    copy_trained(params, lab, seed, rank, rules=(rules[0], rule))
                log_rule_at_rank(params, lab, seed, rank, rule)
        for rule in params.rules:
            log_spreads(params, lab, seed, rule)
            log_growth(params, lab, seed, rule)
    lab.progress(len(trials), len(trials))


def seed_trials(params: ScalingParameters, lab: RunContext, seed: int) -> list[Trial]:
    """Rates innermost, so that packs hold adapters of like rank."""
    return [
        Trial(
            lab.point(seed=seed, rank=rank, rule=rules[0], rate=rate),
            Configuration(
                make_adapter(params, rank, rules[0], seed),
                training_config(
                    steps=params.steps,
                    batch_size=params.batch_size,
                    rate=rate,
                    seed=seed,
                    max_grad_norm=math.inf,  # clipping would take part of the factor's effect back
                ),
            ),
        )
        for rank, rules in configurations(params)
        for rate in params.learning_rates
    ]


def make_adapter(params: ScalingParameters, rank: int, rule: Rule, seed: int) -> Adapter:
    """With the α that gives the rule's factor; α/√r is PEFT's own rsLoRA."""
    is_root = rule == "alpha-over-root-r"
    alpha = factor(params, rank, rule) * (math.sqrt(rank) if is_root else rank)
    return Adapter(rank, alpha, params.target_modules, seed, use_rslora=is_root)


def log_norms(point: Point, trained: Trained, adapted: PeftModel) -> None:
    # In the first step A has no gradient, because B is zero: what is there is B's.
    point.log("start_gradient_norm", trained.result.gradient_norms[0])
    point.log("update_norm", update_norm(trained.weights, trained.configuration.adapter.scale))


def update_norm(weights: Weights, scale: float) -> float:
    """√Σ‖s·B·A‖² over the layers, by ‖BA‖² = tr(BᵀB · AAᵀ), which needs matrices of r × r only."""
    total = 0.0
    for a, b in weights.values():
        of_a, of_b = a.double() @ a.double().T, b.double().T @ b.double()  # (r, r)
        total += (of_a * of_b).sum().item()
    return scale * math.sqrt(total)


def copy_trained(params: ScalingParameters, lab: RunContext, seed: int, rank: int, *, rules: tuple[Rule, Rule]) -> None:
    """At the reference rank all rules are one training, told under each: from the first rule to the second."""
    trained, other = rules
    for rate in params.learning_rates:
        with lab.point(seed=seed, rank=rank, rule=other, rate=rate) as point:
            if point.is_due:
                point.copy_from(lab.point(seed=seed, rank=rank, rule=trained, rate=rate))


def log_rule_at_rank(params: ScalingParameters, lab: RunContext, seed: int, rank: int, rule: Rule) -> None:
    with lab.point(seed=seed, rank=rank, rule=rule) as point:
        if not point.is_due:
            return
        point.log("factor", factor(params, rank, rule))
        log_best(point, losses_by_rate(lab, seed, params.learning_rates, rank=rank, rule=rule))
        slowest = lab.point(seed=seed, rank=rank, rule=rule, rate=min(params.learning_rates))
        if not slowest.value("diverged"):
            point.log("first_gradient_norm", slowest.value("start_gradient_norm"))
            point.log("small_rate_update_norm", slowest.value("update_norm"))


def log_spreads(params: ScalingParameters, lab: RunContext, seed: int, rule: Rule) -> None:
    """How far the ranks are apart at each rate at which all could be trained."""
    for rate in params.learning_rates:
        with lab.point(seed=seed, rule=rule, rate=rate) as point:
            trained = [lab.point(seed=seed, rank=rank, rule=rule, rate=rate) for rank in params.ranks]
            if point.is_due and not any(one.value("diverged") for one in trained):
                losses = [one.value("validation_loss") for one in trained]
                point.log("loss_spread", max(losses) - min(losses))


def log_growth(params: ScalingParameters, lab: RunContext, seed: int, rule: Rule) -> None:
    """The largest rank against the smallest, as far as both could be trained."""
    with lab.point(seed=seed, rule=rule) as point:
        if not point.is_due:
            return
        points = [lab.point(seed=seed, rank=rank, rule=rule) for rank in sorted(params.ranks)]
        if not any(one.value("diverged") for one in points):
            best = [one.value("best_loss") for one in points]
            point.log("best_loss_spread", max(best) - min(best))
            point.log("best_rate_shift", points[0].value("best_rate") / points[-1].value("best_rate"))
        rate = min(params.learning_rates)
        slow = [lab.point(seed=seed, rank=rank, rule=rule, rate=rate) for rank in sorted(params.ranks)]
        if not any(one.value("diverged") for one in slow):
            for name, of in (("gradient_growth", "start_gradient_norm"), ("update_growth", "update_norm")):
                point.log(name, slow[-1].value(of) / slow[0].value(of))
