"""Trains with checkpoints in a process of its own, to be killed: `python training_child.py FOLDER`."""

import os
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from worker.models.tiny import tiny_model
from worker.training.checkpoint import Checkpoints
from worker.training.config import TrainingConfig
from worker.training.examples import Example
from worker.training.loop import OnStep, train
from worker.training.result import TrainingResult

STEPS, EVERY = 24, 3


def example(n: int) -> Example:
    return Example(tuple((7 * n + 3 * i) % 250 for i in range(5 + n % 4)), 2)


def dropping_out() -> PreTrainedModel:
    """The base model with an adapter in it whose dropout draws from torch's generator at every step."""
    torch.manual_seed(5)
    base = tiny_model()
    get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", lora_dropout=0.3))
    return base


def run(folder: Path | None, on_step: OnStep | None = None, model: PreTrainedModel | None = None) -> TrainingResult:
    config = TrainingConfig(
        STEPS, 3, 1e-2, seed=3, schedule="cosine", warmup_steps=4, weight_decay=0.1, lora_plus_ratio=4
    )
    checkpoints = Checkpoints(folder, EVERY) if folder else None
    return train(model or dropping_out(), [example(n) for n in range(10)], config, on_step, checkpoints=checkpoints)


if __name__ == "__main__":
    run(Path(sys.argv[1]), lambda step, _: os.write(1, f"{step}\n".encode()))
