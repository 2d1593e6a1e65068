"""One LoRA adapter per rank, scaling rule and seed, trained and examined in the same way."""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from labs.catalog.rank_sweep import RankSweepParameters, configurations
from worker.adapters import Adapter, add_adapter, save_adapter, trainable_parameters
from worker.context import Point, RunContext, compute_once
from worker.keeping import keep_adapter
from worker.training.checkpoint import Checkpoints
from worker.training.config import usual_config
from worker.training.examples import FactExamples, encode_facts
from worker.training.loop import train
from worker.training.loss import evaluate

# At rank 64 SmolLM2 takes a second or two a step, and a checkpoint is 230 MB: at most two minutes are lost.
CHECKPOINT_STEPS = 50


@dataclass(frozen=True)
class Sweep:
    """What all configurations share."""

    params: RankSweepParameters
    lab: RunContext
    model: PreTrainedModel
    examples: FactExamples


def run(params: RankSweepParameters, lab: RunContext) -> None:
    examples = encode_facts(lab.data("facts"), lab.tokenizer(params.model))
    sweep = Sweep(params, lab, lab.model(params.model), examples)
    log_base(sweep)
    found = configurations(params)
    total = len(lab.seeds) * len(found)
    for i, seed in enumerate(lab.seeds):
        for j, ((rank, alpha), scalings) in enumerate(found.items()):
            lab.progress(i * len(found) + j, total, f"seed {seed}: r = {rank}, α = {alpha}")
            points = [lab.point(seed=seed, rank=rank, scaling=scaling) for scaling in scalings]
            sweep_configuration(sweep, points, Adapter(rank, alpha, params.target_modules, seed))
        log_differences(sweep, seed)
    lab.progress(total, total)


def log_base(sweep: Sweep) -> None:
    """The loss before any training: the same for every seed, so it is computed once."""
    points = [sweep.lab.point(seed=seed) for seed in sweep.lab.seeds]
    if not any(point.is_due for point in points):
        return
    loss = evaluate(sweep.model, sweep.examples.validation).loss
    for point in points:
        with point:
            if point.is_due:
                point.log("base_validation_loss", loss)


def sweep_configuration(sweep: Sweep, points: list[Point], adapter: Adapter) -> None:
    """Train once, and record the result under every point that asks for it."""
    compute_once(points, lambda point: measure(sweep, point, adapter))


def measure(sweep: Sweep, point: Point, adapter: Adapter) -> None:
    """Train one adapter and log what came of it; the base model is as before when this returns."""
    params = sweep.params
    config = usual_config(params, adapter.seed)
    peft_model = add_adapter(sweep.model, adapter)
    point.log("trainable_parameters", trainable_parameters(peft_model))
    result = train(
        sweep.model,
        sweep.examples.training,
        config,
        lambda step, loss: point.log("loss", loss, step=step),
        checkpoints=Checkpoints(sweep.lab.checkpoints(point), CHECKPOINT_STEPS),
    )
    point.log("seconds_per_step", statistics.median(result.seconds))
    point.log("validation_loss", evaluate(sweep.model, sweep.examples.validation).loss)
    point.log("unseen_loss", evaluate(sweep.model, sweep.examples.unseen).loss)
    with tempfile.TemporaryDirectory(dir=sweep.lab.scratch) as folder:
        point.log("adapter_bytes", save_adapter(peft_model, Path(folder)).stat().st_size)
    keep_adapter(sweep.lab, point, peft_model, model=params.model)
    peft_model.unload()


def log_differences(sweep: Sweep, seed: int) -> None:
    """What the choice of rank changes, per scaling rule."""
    for scaling in sweep.params.scalings:
        with sweep.lab.point(seed=seed, scaling=scaling) as point:
            if not point.is_due:
                continue
            losses = [
                sweep.lab.point(seed=seed, rank=rank, scaling=scaling).value("validation_loss")
                for rank in sorted(sweep.params.ranks)
            ]
            point.log("validation_loss_drop", losses[0] - losses[-1])
            point.log("validation_loss_spread", max(losses) - min(losses))
