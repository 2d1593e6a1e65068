"""Train adapters on different tasks, combine two of them in several ways, compare updates and losses."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import PreTrainedModel

from labs.catalog.multi_lora import PAIRS, Method, MultiLoraParameters, Pair
from worker.adapters import Adapter, add_adapter, save_adapter
from worker.context import RunContext
from worker.training.config import usual_config
from worker.training.examples import IGNORED, Example, SplitExamples, collate, encode_facts, encode_pairs, in_batches
from worker.training.loop import train
from worker.training.loss import EVALUATION_BATCH, answer_logits
from worker.training.outcomes import Diverged

# Each pair: (task, whose start A has) of its two adapters.
ADAPTERS: dict[Pair, tuple[tuple[str, int], tuple[str, int]]] = {
    "facts": (("first-half", 0), ("second-half", 1)),
    "shared-start": (("first-half", 0), ("second-half", 0)),
    "docs": (("first-half", 0), ("docs", 2)),
    "conflict": (("first-half", 0), ("other-answers", 3)),
}
STARTS = 4
DOCS_VALIDATION = 32  # rows, which is as many as each half of the facts has
FIRST, SECOND, COMBINED = "first", "second", "combined"


@dataclass(frozen=True)
class Comparison:
    """What all pairs share."""

    params: MultiLoraParameters
    lab: RunContext
    model: PreTrainedModel
    tasks: dict[str, SplitExamples]


def run(params: MultiLoraParameters, lab: RunContext) -> None:
    pairs = [(seed, pair) for seed in lab.seeds for pair in params.pairs]
    left = [(seed, pair) for seed, pair in pairs if not is_finished(params, lab, seed, pair)]
    if not left:
        return
    comparison = Comparison(params, lab, lab.model(params.model), make_tasks(params, lab))
    for seed, of_seed in groupby(left, key=lambda item: item[0]):
        with tempfile.TemporaryDirectory(dir=lab.scratch) as folder:
            for _, pair in of_seed:
                note_progress(comparison, seed, pair, 0)
                compare_pair(comparison, seed, pair, Path(folder))
    lab.progress(1, 1)


def note_progress(comparison: Comparison, seed: int, pair: Pair, stage: int) -> None:
    """Stage 0 of a pair is training, each method is one more."""
    params, seeds = comparison.params, comparison.lab.seeds
    stages = 1 + len(params.methods)
    before = seeds.index(seed) * len(params.pairs) + params.pairs.index(pair)
    comparison.lab.progress(before * stages + stage, len(seeds) * len(params.pairs) * stages, PAIRS[pair])


def is_finished(params: MultiLoraParameters, lab: RunContext, seed: int, pair: Pair) -> bool:
    outcome = lab.point(seed=seed, pair=pair)
    if not outcome.is_finished:
        return False
    points = [lab.point(seed=seed, pair=pair, method=m, weight=w) for m in params.methods for w in params.weights]
    return outcome.value("diverged") == 1 or all(point.is_finished for point in points)


# --- tasks ------------------------------------------------------------------------------------------------------------


def make_tasks(params: MultiLoraParameters, lab: RunContext) -> dict[str, SplitExamples]:
    tokenizer = lab.tokenizer(params.model)
    trained = [fact for fact in lab.data("facts") if fact.is_trained]
    facts = {
        "first-half": trained[::2],
        "second-half": trained[1::2],
        "other-answers": [
            replace(fact, answer=other.answer) for fact, other in zip(trained[::2], trained[1::2], strict=True)
        ],
    }
    tasks = {}
    for name, half in facts.items():
        encoded = encode_facts(half, tokenizer)
        tasks[name] = SplitExamples(encoded.training, encoded.validation)
    docs = encode_pairs(lab.data("docs"), tokenizer)  # type: ignore[arg-type]
    return tasks | {"docs": replace(docs, validation=docs.validation[:DOCS_VALIDATION])}


# --- adapters ---------------------------------------------------------------------------------------------------------


def adapter_folder(comparison: Comparison, seed: int, task: str, start: int, folder: Path) -> Path:
    """Where the adapter of that task lies; trained when it is first asked for. Raises Diverged."""
    params = comparison.params
    place = folder / f"{task}-{start}"
    if place.exists():
        return place
    adapter = Adapter(params.rank, params.alpha, params.target_modules, STARTS * seed + start)
    config = usual_config(params, seed)
    adapted = add_adapter(comparison.model, adapter)
    try:
        train(comparison.model, comparison.tasks[task].training, config)
        save_adapter(adapted, place)
    finally:
        adapted.unload()
    return place


class Answers(NamedTuple):
    """What a model makes of a task."""

    loss: float  # nats per answer token
    right: float  # share of the answers


@dataclass(frozen=True)
class Loaded:
    """Two adapters in one model, and what the base makes of their tasks."""

    comparison: Comparison
    seed: int
    pair: Pair
    adapted: PeftModel
    base_losses: list[float]

    def answers(self, name: str) -> list[Answers]:
        """Of one adapter on both tasks."""
        self.adapted.set_adapter(name)
        return task_answers(self.comparison, self.pair)


def task_answers(comparison: Comparison, pair: Pair) -> list[Answers]:
    """Of the model as it is now, on both tasks of a pair."""
    return [answer(comparison.model, comparison.tasks[task].validation) for task, _ in ADAPTERS[pair]]


@torch.inference_mode()
def answer(model: PreTrainedModel, examples: Sequence[Example]) -> Answers:
    """The loss as `evaluate` has it, and how many answers greedy decoding would give word for word."""
    total, tokens, right = 0.0, 0, 0
    for rows in in_batches(examples, EVALUATION_BATCH):
        batch = collate(rows, str(model.device))
        logits, labels = answer_logits(model, batch)
        row = (batch.labels != IGNORED).nonzero()[:, 0]  # (N,) of each answer token
        total += F.cross_entropy(logits, labels, reduction="sum").item()
        tokens += len(labels)
        right += len(rows) - len(row[logits.argmax(-1) != labels].unique())
    return Answers(total / tokens, right / len(examples))


def compare_pair(comparison: Comparison, seed: int, pair: Pair, folder: Path) -> None:
    """Everything about one pair; the base is as before when this returns."""
    try:
        places = [adapter_folder(comparison, seed, task, start, folder) for task, start in ADAPTERS[pair]]
    except Diverged:
        with comparison.lab.point(seed=seed, pair=pair) as point:
            point.log("diverged", 1)
        return
    base_losses = [found.loss for found in task_answers(comparison, pair)]
    adapted = PeftModel.from_pretrained(comparison.model, str(places[0]), adapter_name=FIRST)
    adapted.load_adapter(str(places[1]), adapter_name=SECOND)
    loaded = Loaded(comparison, seed, pair, adapted, base_losses)
    try:
        alone = log_pair(loaded)
        for stage, method in enumerate(comparison.params.methods, start=1):
            note_progress(comparison, seed, pair, stage)
            for weight in comparison.params.weights:
                log_combination(loaded, method, weight, alone)
    finally:
        adapted.unload()


def log_pair(loaded: Loaded) -> tuple[float, float]:
    """What the two adapters are before they are combined; returns the loss of each on its own task."""
    with loaded.comparison.lab.point(seed=loaded.seed, pair=loaded.pair) as point:
        if not point.is_finished:
            (first, _), (other, second) = loaded.answers(FIRST), loaded.answers(SECOND)
            for name, value in zip(("first", "second"), loaded.base_losses, strict=True):
                point.log(f"base_{name}", value)
            point.log("alone_first", first.loss)
            point.log("alone_second", second.loss)
            point.log("other_first", other.loss)
            point.log("alone_right", 50 * (first.right + second.right))
            cosine, conflict = agreement(loaded.adapted)
            point.log("cosine_between", cosine)
            point.log("sign_conflict", 100 * conflict)
            point.log("diverged", 0)
    return point.value("alone_first"), point.value("alone_second")


def log_combination(loaded: Loaded, method: Method, weight: float, alone: tuple[float, float]) -> None:
    params, adapted = loaded.comparison.params, loaded.adapted
    settings = {"pair": loaded.pair, "method": method, "weight": weight}
    with loaded.comparison.lab.point(seed=loaded.seed, **settings) as point:
        if point.is_finished:
            return
        torch.manual_seed(loaded.seed)  # DARE drops entries at random
        combine(adapted, method, weight, params.density)
        error, cosine = distance_to_sum(adapted, weight)
        found = loaded.answers(COMBINED)
        adapted.set_adapter(FIRST)  # PEFT would choose another one by itself, with a warning
        adapted.delete_adapter(COMBINED)
        point.log("update_error", error)
        point.log("update_cosine", cosine)
        point.log("loss_first", found[0].loss)
        point.log("loss_second", found[1].loss)
        kept = [(b - c.loss) / (b - a) for b, c, a in zip(loaded.base_losses, found, alone, strict=True)]
        point.log("gain_kept", 50 * sum(kept))
        point.log("answers_right", 50 * sum(answers.right for answers in found))


# --- combining and comparing updates ----------------------------------------------------------------------------------


def combine(adapted: PeftModel, method: Method, weight: float, density: float) -> None:
    """Put the adapter COMBINED beside the two."""
    if method == "factors":
        add_factors(adapted, weight)
        return
    adapted.add_weighted_adapter(
        [FIRST, SECOND],
        [weight, weight],
        COMBINED,
        combination_type=method,
        svd_full_matrices=False,
        density=density,
    )


@torch.no_grad()
def add_factors(adapted: PeftModel, weight: float) -> None:
    """A and B of COMBINED are the weighted sums of the two A and of the two B, scaled as the first adapter."""
    adapted.add_adapter(COMBINED, replace(adapted.peft_config[FIRST]))
    for layer in lora_layers(adapted):
        for factors in (layer.lora_A, layer.lora_B):
            factors[COMBINED].weight.copy_(weight * (factors[FIRST].weight + factors[SECOND].weight))


def lora_layers(adapted: PeftModel) -> Iterator[Any]:
    return (module for module in adapted.modules() if isinstance(module, LoraLayer))


def dot(x: Tensor, y: Tensor) -> float:
    return torch.dot(x.flatten().double(), y.flatten().double()).item()


@torch.no_grad()
def distance_to_sum(adapted: PeftModel, weight: float) -> tuple[float, float]:
    """Of COMBINED to the weighted sum of the two updates: relative Frobenius error, cosine; over all layers."""
    error = inner = found_square = sum_square = 0.0
    for layer in lora_layers(adapted):
        total = weight * (layer.get_delta_weight(FIRST) + layer.get_delta_weight(SECOND))
        found = layer.get_delta_weight(COMBINED)
        error += dot(found - total, found - total)
        inner += dot(found, total)
        found_square += dot(found, found)
        sum_square += dot(total, total)
    return math.sqrt(error / sum_square), inner / math.sqrt(found_square * sum_square)


@torch.no_grad()
def agreement(adapted: PeftModel) -> tuple[float, float]:
    """Of the two updates: their cosine, and the share of entries with opposite signs; over all layers."""
    inner = first_square = second_square = 0.0
    opposite = entries = 0
    for layer in lora_layers(adapted):
        first, second = layer.get_delta_weight(FIRST), layer.get_delta_weight(SECOND)
        inner += dot(first, second)
        first_square += dot(first, first)
        second_square += dot(second, second)
        opposite += int((first * second < 0).sum())
        entries += first.numel()
    return inner / math.sqrt(first_square * second_square), opposite / entries
