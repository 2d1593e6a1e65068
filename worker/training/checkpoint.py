"""Training state on disk: tensors as safetensors, the rest as JSON, each checkpoint put in place by one rename.

    folder/step-000040/trained.safetensors     trainable parameters and buffers
                       optimizer.safetensors   its tensors, as "parameter index.name"
                       random.safetensors      states of torch's generators
                       state.json              steps done, losses, schedule, what the training is of

The position in the data is the number of steps done: the order follows from the seed.
"""

import hashlib
import json
import os
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from worker.training.result import TrainingResult

PREFIX = "step-"
UNFINISHED = ".unfinished-"


class OtherTraining(ValueError):
    """The checkpoint is of another model, other data or another configuration."""


@dataclass(frozen=True)
class Checkpoints:
    """Where to keep the state of a training, and how often. One folder a training; only the newest is kept."""

    folder: Path
    every_steps: int


@dataclass(frozen=True)
class TrainingState:
    """All that changes while a training runs, and what tells it from others.

    A packed training has a result for each of its configurations, and rates that follow from the step alone.
    """

    trained: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler | None
    results: Sequence[TrainingResult]
    identity: dict[str, Any]  # JSON, as are the notes
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def steps_done(self) -> int:
        return max(len(result.losses) for result in self.results)


def save_checkpoint(folder: Path, state: TrainingState) -> Path:
    """Write a checkpoint; whoever is killed meanwhile finds the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    earlier = [path for path in folder.iterdir() if path.name.startswith((PREFIX, UNFINISHED))]
    scratch = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
    optimizer = state.optimizer.state_dict()
    _write_tensors(scratch / "trained.safetensors", _changing(state.trained))
    _write_tensors(scratch / "optimizer.safetensors", _flat(optimizer["state"]))
    _write_tensors(scratch / "random.safetensors", _random_states())
    document = {
        "identity": state.identity,
        "results": [asdict(result) for result in state.results],
        "notes": state.notes,
        "optimizer": optimizer["param_groups"],
        "scheduler": state.scheduler.state_dict() if state.scheduler else None,
        "random": random.getstate(),
    }
    _write(scratch / "state.json", json.dumps(document).encode())
    target = folder / f"{PREFIX}{state.steps_done:06}"
    if target.exists():  # of an attempt that resumed from it
        shutil.rmtree(target)
    scratch.rename(target)
    _sync(folder)
    for path in earlier:
        shutil.rmtree(path, ignore_errors=True)
    return target


def restore_checkpoint(folder: Path, state: TrainingState) -> bool:
    """Bring the state to the newest checkpoint, if there is one; OtherTraining if it does not belong to it."""
    found = sorted(folder.glob(f"{PREFIX}*"))
    if not found:
        return False
    newest = found[-1]
    document = json.loads((newest / "state.json").read_text())
    if document["identity"] != state.identity:
        raise OtherTraining(f"The checkpoint {newest} is of another training")
    _load_changing(state.trained, load_file(newest / "trained.safetensors"))
    tensors = _nested(load_file(newest / "optimizer.safetensors"))
    state.optimizer.load_state_dict({"state": tensors, "param_groups": document["optimizer"]})
    if state.scheduler:
        state.scheduler.load_state_dict(document["scheduler"])
    for result, saved in zip(state.results, document["results"], strict=True):
        for name, values in saved.items():
            getattr(result, name)[:] = values
    state.notes.update(document["notes"])
    _restore_random(load_file(newest / "random.safetensors"), document["random"])
    return True


def digest(value: object) -> str:
    """The SHA-256 of a JSON value, for identities."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _changing(model: nn.Module) -> dict[str, Tensor]:
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return trained | dict(model.named_buffers())


@torch.no_grad()
def _load_changing(model: nn.Module, saved: dict[str, Tensor]) -> None:
    for name, tensor in _changing(model).items():
        tensor.copy_(saved[name])


def _flat(state: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{index}.{name}": tensor for index, values in state.items() for name, tensor in values.items()}


def _nested(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    return state


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda:{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def _restore_random(states: dict[str, Tensor], python: list[Any]) -> None:
    torch.set_rng_state(states.pop("cpu"))
    for device, state in states.items():
        torch.cuda.set_rng_state(state, device)
    version, numbers, gauss = python
    random.setstate((version, tuple(numbers), gauss))


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    # Copies: safetensors refuses tensors that share memory, and buffers of several layers may.
    save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, path)
    _sync(path)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _sync(path)


def _sync(path: Path) -> None:
    """Let the disk have it: a rename must not overtake what it renames when the machine goes down."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
