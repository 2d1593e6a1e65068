"""Training several configurations in whichever way is quicker here: packed, or one after the other."""

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from peft import PeftModel
from transformers import PreTrainedModel

from worker.adapters import adapter_weights, add_adapter
from worker.training.examples import Example
from worker.training.loop import OnStep, train
from worker.training.outcomes import Diverged
from worker.training.packed import Configuration, OnPackedStep, Trained, train_packed, with_trained

Method = Literal["packed", "one-by-one"]
CALIBRATION_STEPS = 3  # of which the first, which fills caches, does not count


@dataclass(frozen=True)
class Calibration:
    """Seconds that one step of every configuration takes."""

    packed: float
    one_by_one: float

    @property
    def method(self) -> Method:
        """The quicker one; one by one where nothing is gained, because its first result is there sooner."""
        return "packed" if self.packed < self.one_by_one else "one-by-one"


def calibrate(
    model: PreTrainedModel, examples: Sequence[Example], configurations: Sequence[Configuration]
) -> Calibration:
    """Try both ways for a few steps; ValueError when the configurations cannot be packed.

    Configurations of the same rank and modules take the same time, so that one stands for all of them.
    """
    short = [_shortened(configuration) for configuration in configurations]
    packed = _seconds(train_packed(model, examples, short)[0])
    kinds = Counter((c.adapter.rank, c.adapter.target_modules) for c in short)
    first = {(c.adapter.rank, c.adapter.target_modules): c for c in reversed(short)}
    alone = {kind: _seconds_alone(model, examples, first[kind]) for kind in kinds}
    return Calibration(packed, sum(count * alone[kind] for kind, count in kinds.items()))


def _shortened(configuration: Configuration) -> Configuration:
    """A few steps that cannot diverge: what they cost does not depend on the learning rate."""
    training = replace(configuration.training, steps=CALIBRATION_STEPS, warmup_steps=0, learning_rate=1e-6)
    return replace(configuration, training=training)


def _seconds(trained: Trained) -> float:
    """Of a step. The quickest, because whatever disturbs a measurement makes it longer."""
    return min(trained.result.seconds[1:])


def _seconds_alone(model: PreTrainedModel, examples: Sequence[Example], configuration: Configuration) -> float:
    [(_, trained, _)] = train_configurations(model, examples, [configuration], method="one-by-one")
    return _seconds(trained)


def train_configurations(
    model: PreTrainedModel,
    examples: Sequence[Example],
    configurations: Sequence[Configuration],
    on_step: OnPackedStep | None = None,
    method: Method | None = None,
) -> Iterator[tuple[int, Trained, PeftModel]]:
    """Train all, and yield each with the model that has it in it, as soon as it is there.

    The model is the caller's, to evaluate and to save, until the next one is asked for. Without a method, calibration
    chooses it.
    """
    if method is None:
        method = calibrate(model, examples, configurations).method if len(configurations) > 1 else "one-by-one"
    if method == "packed":
        for i, trained in enumerate(train_packed(model, examples, configurations, on_step)):
            peft_model = with_trained(model, trained)
            yield i, trained, peft_model
            peft_model.unload()
        return
    for i, configuration in enumerate(configurations):
        hear = functools.partial(on_step, i) if on_step else None
        peft_model = add_adapter(model, configuration.adapter)
        trained = _train(model, examples, configuration, hear)
        trained.weights = {name: (a.detach(), b.detach()) for name, (a, b) in adapter_weights(peft_model).items()}
        yield i, trained, peft_model
        peft_model.unload()


def _train(
    model: PreTrainedModel, examples: Sequence[Example], configuration: Configuration, on_step: OnStep | None
) -> Trained:
    """Train the adapter in the model; of one that diverges, only `on_step` knows the losses."""
    trained = Trained(configuration, {})
    try:
        trained.result = train(model, examples, configuration.training, on_step)
    except Diverged as outcome:
        trained.diverged = outcome
    return trained
