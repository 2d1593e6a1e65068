"""Training several configurations in whichever way is quicker here: packed, or one after the other."""

import functools
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from peft import PeftModel
from transformers import PreTrainedModel

from worker.adapters import adapter_weights, add_adapter
from worker.training.checkpoint import Checkpoints
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
    *,
    checkpoints: Checkpoints | None = None,
    finished: Container[int] = (),
) -> Iterator[tuple[int, Trained, PeftModel]]:
    """Train all, and yield each with the model that has it in it, as soon as it is there.

    The model is the caller's, to evaluate and to save, until the next one is asked for. Without a method, calibration
    chooses it. To resume, name the same configurations in the same order and say which ones are `finished`: these
    are not yielded again.
    """
    folder = checkpoints.folder if checkpoints else None
    method = method or _begun(folder) or _choose(model, examples, configurations)
    if method == "packed":
        kept = _checkpoints(checkpoints, "packed")
        for i, trained in enumerate(train_packed(model, examples, configurations, on_step, kept)):
            if i not in finished:
                yield from _lent(i, trained, with_trained(model, trained))
        return
    for i, configuration in enumerate(configurations):
        if i not in finished:
            hear = functools.partial(on_step, i) if on_step else None
            peft_model = add_adapter(model, configuration.adapter)
            trained = _train(model, examples, configuration, hear, _checkpoints(checkpoints, str(i)))
            trained.weights = {name: (a.detach(), b.detach()) for name, (a, b) in adapter_weights(peft_model).items()}
            yield from _lent(i, trained, peft_model)


def _lent(index: int, trained: Trained, peft_model: PeftModel) -> Iterator[tuple[int, Trained, PeftModel]]:
    """One item; the adapter is out of the model afterwards, also when the caller breaks off."""
    try:
        yield index, trained, peft_model
    finally:
        peft_model.unload()


def _begun(folder: Path | None) -> Method | None:
    """The method of an earlier attempt, of which checkpoints are left."""
    if folder is None or not folder.exists():
        return None
    names = {path.name for path in folder.iterdir()}
    if not names:
        return None
    return "packed" if "packed" in names else "one-by-one"


def _choose(model: PreTrainedModel, examples: Sequence[Example], configurations: Sequence[Configuration]) -> Method:
    return calibrate(model, examples, configurations).method if len(configurations) > 1 else "one-by-one"


def _checkpoints(checkpoints: Checkpoints | None, name: str) -> Checkpoints | None:
    return replace(checkpoints, folder=checkpoints.folder / name) if checkpoints else None


def _train(
    model: PreTrainedModel,
    examples: Sequence[Example],
    configuration: Configuration,
    on_step: OnStep | None,
    checkpoints: Checkpoints | None,
) -> Trained:
    """Train the adapter in the model; of one that diverges, only `on_step` knows the losses."""
    trained = Trained(configuration, {})
    try:
        trained.result = train(model, examples, configuration.training, on_step, checkpoints=checkpoints)
    except Diverged as outcome:
        trained.diverged = outcome
    return trained
