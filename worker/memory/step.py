"""One training step as everybody writes it, the same for fake and real tensors: forward, backward, clip, update."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from torch import Tensor, nn

from labs.memory.recipe import Recipe
from worker.memory.events import Category, Record
from worker.memory.losses import model_loss
from worker.memory.optimizers import clip, is_on_host, make_optimizer, state_tensors
from worker.memory.tracker import StorageTracker
from worker.methods.adalora import Penalty
from worker.methods.setting import Attached
from worker.quantisation import state_tensors as quantised_state

STEPS = 2  # the first makes the optimizer's states, the second is what every later one is like
PARTS = 2  # micro-batches of a step: gradients are there from the second on, and a third is like it


@dataclass(frozen=True)
class Trainee:
    """A model with a method in it, and how it is trained."""

    model: Any
    attached: Attached
    recipe: Recipe
    on_cuda: bool = False

    @property
    def trained(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]


def track(trainee: Trainee, layers_a_block: int = 1) -> Record:
    """Train two steps, and write down every storage that is born or dies."""
    model = trainee.model
    tracker = StorageTracker(model, model.get_output_embeddings(), layers_a_block)
    optimizer = make_optimizer(trainee.recipe.optimizer, trainee.trained, on_cuda=trainee.on_cuda)
    with _no_collector(), tracker:
        tracker.add(_parameters(model))
        for step in range(STEPS):
            tracker.begin_step()
            _step(trainee, optimizer, tracker, step)
        tracker.record.trained = len(trainee.trained)
        return tracker.close()


def _step(trainee: Trainee, optimizer: torch.optim.Optimizer, tracker: StorageTracker, step: int) -> None:
    parts = min(trainee.recipe.accumulation, PARTS)
    for _ in range(parts):
        with tracker.during("forward"):
            loss = _loss(trainee, tracker) / trainee.recipe.accumulation
        with tracker.during("backward"):
            torch.autograd.backward(loss)
            for parameter in trainee.trained:
                if parameter.grad is not None:
                    tracker.mark(parameter.grad, "gradients")
            del loss
    with tracker.during("clip"):
        clip(trainee.trained, on_cuda=trainee.on_cuda)
    with tracker.during("optimizer"):
        optimizer.step()
        _mark_states(trainee, optimizer, tracker)
        if trainee.attached.after_update:
            trainee.attached.after_update(step, 0.0)
    with tracker.during("optimizer"):
        optimizer.zero_grad()


def _loss(trainee: Trainee, tracker: StorageTracker) -> Tensor:
    recipe, device = trainee.recipe, trainee.model.device
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.autocast):
        tokens = torch.zeros(recipe.batch_size, recipe.sequence_length, dtype=torch.long, device=device)
        labels = torch.zeros_like(tokens)
        loss = model_loss(trainee.model, tokens, labels, recipe.loss, tracker)
        if isinstance(trainee.attached.objective, Penalty):
            loss = loss + trainee.attached.objective.of(trainee.model)
        return loss


def _mark_states(trainee: Trainee, optimizer: torch.optim.Optimizer, tracker: StorageTracker) -> None:
    for parameter, name, state in state_tensors(optimizer):
        if trainee.on_cuda and is_on_host(trainee.recipe.optimizer, parameter, name, state):
            tracker.to_host(state)
        else:
            tracker.mark(state, "optimizer_states")


def _parameters(model: nn.Module) -> Iterator[tuple[str, Tensor, Category]]:
    """Everything that the model keeps: name, tensor, category."""
    for name, module in model.named_modules():
        is_quantised = isinstance(module, Linear4bit | Linear8bitLt)
        for own, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                yield name, tensor, "quantised_parameters" if is_quantised and own != "bias" else "parameters"
        if is_quantised:
            for tensor in _constants(module):
                yield name, tensor, "quantised_parameters"


def _constants(layer: Any) -> Iterator[Tensor]:
    """What bitsandbytes keeps beside the codes, and not as a buffer."""
    state = getattr(layer.weight, "quant_state", None)
    if state is not None:
        yield from quantised_state(state)
    scales = getattr(layer.weight, "SCB", None)
    if scales is not None:
        yield scales


@contextmanager
def _no_collector() -> Iterator[None]:
    """Python's collector of cycles runs whenever it likes: it would decide when some storages die."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
