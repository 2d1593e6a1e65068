"""Two tasks one after the other, the second in several ways: what is learned, what is lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from random import Random
from typing import Literal

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from labs.catalog.forgetting import STRATEGIES, ForgettingParameters, Strategy
from worker.adapters import Adapter, add_adapter
from worker.context import Point, RunContext
from worker.training.config import WARMUP_STEPS, TrainingConfig, data_order
from worker.training.ewc import AnchoredLoss, make_anchors
from worker.training.examples import Example, encode_facts, encode_pairs, encode_passages
from worker.training.loop import train
from worker.training.loss import Objective, answer_loss, evaluate
from worker.training.outcomes import Diverged

Method = Literal["lora", "full"]
State = dict[str, Tensor]  # of what is trained, by name
REPLAYED: dict[Strategy, float] = {"replay-5": 0.05, "replay-10": 0.10}  # share of the second task's examples
SECOND_START = 1_000_000  # the new adapter of `merge` must not start with the A that the merged one started with


@dataclass(frozen=True)
class Task:
    training: Sequence[Example]
    held_out: Sequence[Example]

    def loss(self, model: PreTrainedModel) -> float:
        return evaluate(model, self.held_out).loss


@dataclass(frozen=True)
class Comparison:
    """What all strategies share."""

    params: ForgettingParameters
    lab: RunContext
    first: Task
    second: Task
    prose: Sequence[Example]

    def losses(self, model: PreTrainedModel) -> dict[str, float]:
        prose = evaluate(model, self.prose).loss
        return {"first_loss": self.first.loss(model), "second_loss": self.second.loss(model), "prose_loss": prose}


def run(params: ForgettingParameters, lab: RunContext) -> None:
    # LoRA that just goes on comes first: the others are compared with it.
    strategies = sorted(params.strategies, key=list(STRATEGIES).index)
    if all(lab.point(seed=seed, strategy=s).is_finished for seed in lab.seeds for s in strategies):
        return
    comparison = prepare(params, lab)
    log_base(comparison)
    for i, seed in enumerate(lab.seeds):
        learned: dict[Method, State] = {}
        for j, strategy in enumerate(strategies):
            lab.progress(i * len(strategies) + j, len(lab.seeds) * len(strategies), STRATEGIES[strategy])
            with lab.point(seed=seed, strategy=strategy) as point:
                if not point.is_finished:
                    measure(comparison, point, strategy, learned)
    lab.progress(1, 1)


def prepare(params: ForgettingParameters, lab: RunContext) -> Comparison:
    tokenizer, rows = lab.tokenizer(params.model), params.held_out
    facts = encode_facts(lab.data("facts"), tokenizer)
    docs = encode_pairs(lab.data("docs"), tokenizer)  # type: ignore[arg-type]
    prose = encode_passages(lab.data("prose"), tokenizer)  # type: ignore[arg-type]
    first, second = Task(facts.training, facts.validation), Task(docs.training, docs.validation[:rows])
    return Comparison(params, lab, first, second, prose.validation[:rows])


def log_base(comparison: Comparison) -> None:
    """The losses before any training, the same for every seed."""
    lab = comparison.lab
    points = [lab.point(seed=seed) for seed in lab.seeds]
    if all(point.is_finished for point in points):
        return
    losses = comparison.losses(lab.model(comparison.params.model))
    for point in points:
        with point:
            if not point.is_finished:
                for name, loss in losses.items():
                    point.log(name, loss)


# --- training ---------------------------------------------------------------------------------------------------------


def measure(comparison: Comparison, point: Point, strategy: Strategy, learned: dict[Method, State]) -> None:
    """One strategy: the model as the first task left it, the second task, what came of it."""
    try:
        model = after_first_task(comparison, "full" if strategy == "full" else "lora", point.seed, learned)
        before = comparison.first.loss(model)
        learn_second_task(comparison, model, point, strategy)
    except Diverged:
        point.log("diverged", 1)
        return
    point.log("diverged", 0)
    point.log("first_loss_before", before)
    log_losses(comparison, point, comparison.losses(model), before)
    log_against_lora(comparison, point, strategy)


def after_first_task(
    comparison: Comparison, method: Method, seed: int, learned: dict[Method, State]
) -> PreTrainedModel:
    """A model that has learned the first task by that method, which is trained once a seed. Raises Diverged."""
    model = comparison.lab.model(comparison.params.model)
    make_trainable(comparison.params, model, method, seed)
    if method not in learned:
        train(model, comparison.first.training, training_config(comparison.params, method, seed, "first"))
        learned[method] = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    for name, value in learned[method].items():
        model.get_parameter(name).data.copy_(value)
    return model


def make_trainable(params: ForgettingParameters, model: PreTrainedModel, method: Method, seed: int) -> None:
    """All weights, or an adapter put in, in place."""
    if method == "full":
        model.requires_grad_(True)
    else:
        add_adapter(model, Adapter(params.rank, 2 * params.rank, "all-linear", seed))


def training_config(
    params: ForgettingParameters, method: Method, seed: int, task: Literal["first", "second"]
) -> TrainingConfig:
    steps = params.first_steps if task == "first" else params.second_steps
    return TrainingConfig(
        steps=steps,
        batch_size=params.batch_size,
        learning_rate=params.full_learning_rate if method == "full" else params.learning_rate,
        seed=seed,
        warmup_steps=min(WARMUP_STEPS, steps),
    )


def learn_second_task(comparison: Comparison, model: PreTrainedModel, point: Point, strategy: Strategy) -> None:
    """In place. The optimizer starts afresh, whatever the strategy."""
    params = comparison.params
    config = training_config(params, "full" if strategy == "full" else "lora", point.seed, "second")
    if strategy == "merge":
        merge(model)
        make_trainable(params, model, "lora", SECOND_START + point.seed)
    objective: Objective = answer_loss
    if strategy == "ewc":
        known = Random(point.seed).sample(comparison.first.training, params.fisher_examples)  # noqa: S311
        objective = AnchoredLoss(make_anchors(model, known), params.ewc_strength)
    examples = mix(comparison.first.training, comparison.second.training, REPLAYED.get(strategy, 0.0), config)
    train(model, examples, config, lambda step, loss: point.log("loss", loss, step=step), objective=objective)


@torch.no_grad()
def merge(model: PreTrainedModel) -> None:
    """The adapter into the weights, in place; the model computes what it did before."""
    for name, layer in [(n, m) for n, m in model.named_modules() if isinstance(m, LoraLayer)]:
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    del model.peft_config  # or PEFT would take the next adapter for a second one


def mix(old: Sequence[Example], new: Sequence[Example], share: float, config: TrainingConfig) -> list[Example]:
    """As many examples as the training sees, each once: that share of them old ones, the others new.

    All strategies draw the new ones in the same order, so that replay sees the first of those that the others see.
    """
    count = config.steps * config.batch_size
    replayed = round(share * count)
    drawn = chain.from_iterable(data_order(len(new), config))
    rng = Random(config.seed)  # noqa: S311 (a draw of examples, not a secret)
    return [new[i] for i in islice(drawn, count - replayed)] + rng.choices(old, k=replayed)


# --- results ----------------------------------------------------------------------------------------------------------


def log_losses(comparison: Comparison, point: Point, losses: dict[str, float], before: float) -> None:
    base = comparison.lab.point(seed=point.seed)
    for name, loss in losses.items():
        point.log(name, loss)
    point.log("forgetting", losses["first_loss"] - before)
    point.log("learning", base.value("second_loss") - losses["second_loss"])
    point.log("prose_forgetting", losses["prose_loss"] - base.value("prose_loss"))


def log_against_lora(comparison: Comparison, point: Point, strategy: Strategy) -> None:
    """Differences to LoRA that just goes on, where that was trained and did not diverge."""
    if strategy == "lora" or "lora" not in comparison.params.strategies:
        return
    plain = comparison.lab.point(seed=point.seed, strategy="lora")
    if not plain.value("diverged"):
        point.log("forgetting_saved", plain.value("forgetting") - point.value("forgetting"))
        point.log("learning_lost", plain.value("learning") - point.value("learning"))
