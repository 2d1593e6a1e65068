"""Packed training of K adapters on SmolLM2 against training them one after the other, in two ways.

- plain: PEFT as it is commonly written, with every row padded to 64 tokens and logits over the vocabulary at every
  position;
- same loss: PEFT with what this project's loop does as well, logits at the answer's positions only and batches trimmed
  to their longest row.

The rows are of the docs data set, those of at most 64 tokens (34 on the average, 17 of them answer). Runs take turns,
so that a busy machine slows all alike. One run stands for the K of a baseline, which take the same time each:

- step: median seconds for a step of all K;
- makespan: seconds until all K are trained, with what comes before the first step (`steps` of them, fewer than a run
  of a lab has, so that this weighs more here than there);
- first_result: seconds until the first is trained, where one after the other is ahead.

BENCH_PACKED_SIZES, BENCH_PACKED_COUNTS and BENCH_PACKED_STEPS make it shorter: `1x64`, `4` and `3`.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from django.conf import settings
from torch import nn
from transformers import PreTrainedModel

from worker.adapters import Adapter, add_adapter
from worker.data.sets import load
from worker.environment import thread_count
from worker.models.load import load_causal_lm, load_tokenizer
from worker.models.store import prepare
from worker.training.config import TrainingConfig, data_order
from worker.training.examples import IGNORED, Example, encode_pairs
from worker.training.loop import train
from worker.training.packed import Configuration, train_packed

MODEL = "smollm2-135m"
LENGTH = 64
ROUNDS = 3
SIZES = os.environ.get("BENCH_PACKED_SIZES", "1x64,2x64,4x64").split(",")
COUNTS = [int(count) for count in os.environ.get("BENCH_PACKED_COUNTS", "4,8").split(",")]
STEPS = int(os.environ.get("BENCH_PACKED_STEPS", "6"))


@dataclass
class Times:
    """Of all rounds of one way to train."""

    steps: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # of the first configuration, in the last round

    def add(self, run: Callable[[], tuple[list[float], list[float]]]) -> None:
        """Time a run that returns its seconds a step and its losses."""
        started = time.perf_counter()
        seconds, self.losses = run()
        self.whole.append(time.perf_counter() - started)
        self.steps += seconds[1:]  # the first step fills caches

    def times(self, count: int) -> dict[str, float]:
        step, whole = statistics.median(self.steps), statistics.median(self.whole)
        return {"step": count * step, "makespan": count * whole, "first_result": whole}


def run() -> dict[str, Any]:
    torch.set_num_threads(thread_count())
    cache = Path(settings.MODELS_DIR)
    prepare([MODEL], cache, lambda _: None)
    model = load_causal_lm(MODEL, dtype=torch.float32, device="cpu", cache_dir=cache)
    pairs = encode_pairs(load("docs"), load_tokenizer(MODEL, cache_dir=cache)).training
    examples = [example for example in pairs if len(example.tokens) <= LENGTH]
    sizes = [int(size.removesuffix(f"x{LENGTH}")) for size in SIZES]
    return {
        "threads": torch.get_num_threads(),
        "steps": STEPS,
        **{f"{size}x{LENGTH},K={count}": compare(model, examples, size, count) for size in sizes for count in COUNTS},
    }


def compare(model: PreTrainedModel, examples: Sequence[Example], batch_size: int, count: int) -> dict[str, Any]:
    """Seconds and ratios for one batch size and one number of configurations."""
    configurations = [
        Configuration(Adapter(8, 16, "all-linear", seed), TrainingConfig(STEPS, batch_size, 1e-3, seed=seed))
        for seed in range(count)
    ]
    plain, same_loss, packed = Times(), Times(), Times()
    for _ in range(ROUNDS):
        plain.add(lambda: train_plain(model, examples, configurations[0]))
        same_loss.add(lambda: train_alone(model, examples, configurations[0]))
        packed.add(lambda: train_together(model, examples, configurations))
    found = {"plain": plain.times(count), "same_loss": same_loss.times(count), "packed": packed.times(1)}
    return {
        "seconds": rounded(found),
        "ratio_to_plain": rounded(ratios(found["plain"], found["packed"])),
        "ratio_to_same_loss": rounded(ratios(found["same_loss"], found["packed"])),
        "largest_relative_loss_difference": max(
            abs(a - b) / b for a, b in zip(packed.losses, same_loss.losses, strict=True)
        ),
    }


def ratios(baseline: dict[str, float], packed: dict[str, float]) -> dict[str, float]:
    return {name: baseline[name] / seconds for name, seconds in packed.items()}


def rounded(numbers: dict[str, Any]) -> dict[str, Any]:
    return {k: rounded(v) if isinstance(v, dict) else round(v, 3) for k, v in numbers.items()}


def train_together(
    model: PreTrainedModel, examples: Sequence[Example], configurations: Sequence[Configuration]
) -> tuple[list[float], list[float]]:
    result = train_packed(model, examples, configurations)[0].result
    return result.seconds, result.losses


def train_alone(
    model: PreTrainedModel, examples: Sequence[Example], configuration: Configuration
) -> tuple[list[float], list[float]]:
    peft_model = add_adapter(model, configuration.adapter)
    result = train(model, examples, configuration.training)
    peft_model.unload()
    return result.seconds, result.losses


def train_plain(
    model: PreTrainedModel, examples: Sequence[Example], configuration: Configuration
) -> tuple[list[float], list[float]]:
    """As in PEFT's own examples: padded rows, an attention mask, and the model's own loss."""
    peft_model = add_adapter(model, configuration.adapter).train()
    trained = [p for p in peft_model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=configuration.training.learning_rate, weight_decay=0.0)
    seconds, losses = [], []
    for indices in data_order(len(examples), configuration.training):
        started = time.perf_counter()
        loss = peft_model(**padded([examples[i] for i in indices])).loss
        loss.backward()
        nn.utils.clip_grad_norm_(trained, configuration.training.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
    peft_model.eval()
    peft_model.unload()
    return seconds, losses


def padded(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Token ids, mask and labels of LENGTH columns; transformers shifts the labels by itself."""
    ids = torch.zeros(len(examples), LENGTH, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for row, example in enumerate(examples):
        end = len(example.tokens)
        ids[row, :end] = torch.tensor(example.tokens)
        mask[row, :end] = 1
        labels[row, example.answer_start : end] = ids[row, example.answer_start : end]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
