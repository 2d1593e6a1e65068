"""Adapters on few and on many examples, with one regulariser at a time: loss on trained examples and on others."""

from dataclasses import dataclass, replace
from random import Random

from transformers import PreTrainedModel

from labs.catalog.regularisation import LARGEST, REGULARISERS, RegularisationParameters, Regulariser
from worker.adapters import Adapter, add_adapter
from worker.context import Point, RunContext
from worker.data.facts import generate
from worker.training.config import usual_config
from worker.training.examples import Example, encode_facts
from worker.training.loop import train
from worker.training.loss import evaluate
from worker.training.outcomes import Diverged

MOMENTS = 8  # at which the held-out losses are taken
PER_RELATION = 43  # trained facts: with eight relations and three phrasings enough for the largest set
UNSEEN_PER_RELATION = 8
PROBES = 64  # trained examples to take the loss on: the first, which the sets of all sizes have
WORLD = 19  # seed of the facts


@dataclass(frozen=True)
class Data:
    training: list[Example]  # a set of n examples is the first n
    choosing: list[Example]  # one half of the facts never shown: early stopping looks at it
    held_out: list[Example]  # the other half: losses are reported on it


@dataclass(frozen=True)
class Comparison:
    """What all trainings share."""

    params: RegularisationParameters
    lab: RunContext
    model: PreTrainedModel
    data: Data


@dataclass(frozen=True)
class Moment:
    step: int
    choosing: float
    held_out: float


def run(params: RegularisationParameters, lab: RunContext) -> None:
    # None comes first: the others are compared with it.
    regularisers = sorted(params.regularisers, key=list(REGULARISERS).index)
    points = [(seed, size, one) for seed in lab.seeds for size in params.sizes for one in regularisers]
    if all(lab.point(seed=seed, examples=size, regulariser=one).is_finished for seed, size, one in points):
        return
    comparison = Comparison(params, lab, lab.model(params.model), make_data(params, lab))
    for done, (seed, size, regulariser) in enumerate(points):
        lab.progress(done, len(points), REGULARISERS[regulariser])
        with lab.point(seed=seed, examples=size, regulariser=regulariser) as point:
            if not point.is_finished:
                measure(comparison, point, size, regulariser)
    lab.progress(len(points), len(points))


def make_data(params: RegularisationParameters, lab: RunContext) -> Data:
    """A larger world than the one that is shipped; trained examples in one random order for all seeds."""
    encoded = encode_facts(generate(PER_RELATION, UNSEEN_PER_RELATION, WORLD), lab.tokenizer(params.model))
    training = Random(WORLD).sample(encoded.training, LARGEST)  # noqa: S311 (an order, not a secret)
    return Data(training, encoded.unseen[::2], encoded.unseen[1::2])


def measure(comparison: Comparison, point: Point, size: int, regulariser: Regulariser) -> None:
    """Train once; the model is as before when this returns. Divergence is a result like others."""
    params, model, data = comparison.params, comparison.model, comparison.data
    config = usual_config(params, point.seed)
    if regulariser == "decay":
        config = replace(config, weight_decay=params.weight_decay)
    wanted = {round(params.steps * (i + 1) / MOMENTS) for i in range(MOMENTS)}
    found: list[Moment] = []

    def record(step: int, loss: float) -> None:
        point.log("loss", loss, step=step)
        if step + 1 in wanted:
            found.append(Moment(step + 1, evaluate(model, data.choosing).loss, evaluate(model, data.held_out).loss))

    adapted = add_adapter(model, make_adapter(params, regulariser, point.seed))
    try:
        train(model, data.training[:size], config, record)
        trained = evaluate(model, data.training[: min(size, PROBES)]).loss
    except Diverged:
        point.log("diverged", 1)
        return
    finally:
        adapted.unload()
    point.log("diverged", 0)
    log_losses(comparison, point, size, regulariser, held_out=found[-1].held_out, trained=trained)
    log_moments(comparison.lab, point.seed, size, regulariser, found)
    if regulariser == "none":
        log_early_stopping(comparison, point, size, found)


def make_adapter(params: RegularisationParameters, regulariser: Regulariser, seed: int) -> Adapter:
    rank = 1 if regulariser == "small-rank" else params.rank
    dropout = params.dropout if regulariser == "dropout" else 0.0
    return Adapter(rank, 2 * rank, "all-linear", seed, dropout=dropout)


def log_losses(
    comparison: Comparison, point: Point, size: int, regulariser: Regulariser, *, held_out: float, trained: float
) -> None:
    point.log("held_out_loss", held_out)
    point.log("training_loss", trained)
    point.log("gap", held_out - trained)
    if regulariser != "none" and "none" in comparison.params.regularisers:
        plain = comparison.lab.point(seed=point.seed, examples=size, regulariser="none")
        if not plain.value("diverged"):
            point.log("gain", plain.value("held_out_loss") - held_out)


def log_moments(lab: RunContext, seed: int, size: int, regulariser: Regulariser, found: list[Moment]) -> None:
    for moment in found:
        with lab.point(seed=seed, examples=size, regulariser=regulariser, step=moment.step) as point:
            if not point.is_finished:
                point.log("moment_loss", moment.held_out)


def log_early_stopping(comparison: Comparison, plain: Point, size: int, found: list[Moment]) -> None:
    """Chosen on one half of the facts, reported on the other: the minimum of a curve is no fair estimate of itself."""
    best = min(found, key=lambda moment: moment.choosing)
    with comparison.lab.point(seed=plain.seed, examples=size, regulariser="early-stopping") as point:
        if not point.is_finished:
            point.log("stopped_at", best.step)
            point.log("held_out_loss", best.held_out)
            point.log("gain", found[-1].held_out - best.held_out)
