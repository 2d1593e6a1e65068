"""The same training step with numbers, followed by the same tracker: what a simulation has to agree with."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from labs.memory.recipe import Recipe
from worker.memory.events import Record
from worker.memory.models import prepare, real_model
from worker.memory.step import Trainee, track
from worker.training.examples import Example


def measure(recipe: Recipe, base: PreTrainedModel, examples: Sequence[Example] = ()) -> Record:
    """Train two steps on the CPU. `base` is a float32 model of the recipe's shape, and is used up."""
    model = real_model(recipe, base)
    attached = prepare(model, recipe, examples, has_data=True)
    return track(Trainee(model, attached, recipe))


def measure_cuda(recipe: Recipe, base: PreTrainedModel, examples: Sequence[Example] = ()) -> tuple[int, int]:
    """The same on a GPU: what torch.cuda counted as allocated and reserved at most."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model: Any = real_model(recipe, base)
    model = model.to("cuda")
    attached = prepare(model, recipe, examples, has_data=True)
    track(Trainee(model, attached, recipe, on_cuda=True))
    return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
