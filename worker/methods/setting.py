"""What every method of fine-tuning is given, and what it gives back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from worker.training.examples import Example
from worker.training.loop import OnStep
from worker.training.loss import Objective, answer_loss

ALL_LINEAR = "all-linear"  # PEFT's name for every linear layer but the output layer


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Setting:
    """What decides a method's start besides the model. Starts that look at data see the first examples."""

    rank: int
    alpha: int
    steps: int
    seed: int
    examples: Sequence[Example]

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


@dataclass(frozen=True)
class Attached:
    """A method in a model, which has been changed in place: what requires a gradient is what the method trains.

    `reset` takes back what a training changed besides these parameters. `adapted` is PEFT's view of the model.
    """

    adapted: PeftModel | None = None
    objective: Objective = answer_loss
    after_update: OnStep | None = None
    lora_plus_ratio: float = 1.0
    reset: Callable[[], object] = _nothing


Attach = Callable[[PreTrainedModel, Setting], Attached]


def adapt(model: PreTrainedModel, config: PeftConfig, seed: int) -> PeftModel:
    """PEFT's adapter, in place, with its random start from the seed."""
    torch.manual_seed(seed)
    adapted: PeftModel = get_peft_model(model, config)
    return adapted


def by_config(make: Callable[[Setting], PeftConfig]) -> Attach:
    """A method that is a configuration of PEFT and nothing else."""
    return lambda model, setting: Attached(adapt(model, make(setting), setting.seed))
