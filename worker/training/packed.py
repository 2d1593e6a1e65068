"""Several adapters trained at once on one frozen base.

A small batch leaves a machine idle while it reads the frozen weights; packed, they are read once for all configurations
(see worker.training.packed_layers), and no token is padding (see worker.training.end_to_end). Configurations may differ
in rank, alpha, target modules, seed, learning rate, schedule and weight decay, and see the same data as they would
alone. Examples do not mix, so each learns what it would have learned alone, up to rounding.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import ParameterList
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import PreTrainedModel

from worker.adapters import Adapter, adapter_weights, add_adapter
from worker.training.checkpoint import Checkpoints, TrainingState, restore_checkpoint, save_checkpoint
from worker.training.config import TrainingConfig, data_order, learning_rate_factor
from worker.training.end_to_end import Rows, attention_end_to_end
from worker.training.examples import Example, collate_end_to_end, padded_shape
from worker.training.loop import check_loss, data_digest
from worker.training.loss import answer_logits
from worker.training.outcomes import Diverged
from worker.training.packed_layers import PackedAdapter, Tokens, Weights, packed_layers
from worker.training.result import TrainingResult
from worker.training.watching import Step, tell

SHARED = ("steps", "batch_size", "accumulation", "packed_length", "precision", "gradient_checkpointing")
OnPackedStep = Callable[[int, int, float], object]  # configuration, step, loss


@dataclass(frozen=True)
class Configuration:
    """One adapter and how it is trained."""

    adapter: Adapter
    training: TrainingConfig


@dataclass
class Trained:
    """What became of one configuration."""

    configuration: Configuration
    weights: Weights
    result: TrainingResult = field(default_factory=TrainingResult)  # its seconds are those of a step of all together
    diverged: Diverged | None = None


class Pack:
    """Configurations that train together, their examples in their order in every batch."""

    def __init__(self, model: PreTrainedModel, configurations: Sequence[Configuration]) -> None:
        self.model = model
        self.trained = [Trained(c, initial_weights(model, c.adapter)) for c in configurations]
        self.adapters = [PackedAdapter(member.weights, member.configuration.adapter.scale) for member in self.trained]
        self.leaves = [adapter.leaves() for adapter in self.adapters]
        groups = [
            {"params": [leaf], "weight_decay": configuration.training.weight_decay}
            for configuration, pair in zip(configurations, self.leaves, strict=True)
            for leaf in pair
        ]
        self.optimizer = torch.optim.AdamW(groups, fused=True)

    def state(self, examples: Sequence[Example]) -> TrainingState:
        """What changes from now on, for checkpoints."""
        configurations = [asdict(member.configuration) for member in self.trained]
        identity = {"configurations": configurations, "data": data_digest(examples)}
        leaves = ParameterList([leaf for pair in self.leaves for leaf in pair])
        return TrainingState(leaves, self.optimizer, None, [member.result for member in self.trained], identity)

    def outcomes(self) -> dict[str, list[object]]:
        """Of those that diverged, by their place: reason and step, as JSON."""
        found = {str(i): member.diverged for i, member in enumerate(self.trained)}
        return {place: [outcome.reason, outcome.step] for place, outcome in found.items() if outcome}

    def recall_outcomes(self, state: TrainingState) -> None:
        for place, (reason, step) in state.notes.items():
            self.trained[int(place)].diverged = Diverged(reason, step)

    def step(self, step: int, parts: Sequence[Sequence[Example]], tokens: Tokens) -> None:
        """One step of every configuration on its own examples."""
        started = time.perf_counter()
        tokens.lay([padded_shape(part).tokens for part in parts])
        losses = self._losses(parts)
        losses.sum().backward()
        norms = [self._prepare(i, step, loss) for i, loss in enumerate(losses.tolist())]
        self.optimizer.step()
        seconds = time.perf_counter() - started
        for member, loss, norm, part in zip(self.trained, losses.tolist(), norms, parts, strict=True):
            if not member.diverged:
                member.result.losses.append(loss)
                member.result.gradient_norms.append(norm)
                member.result.shapes.append([padded_shape(part)])
                member.result.seconds.append(seconds)

    def _losses(self, parts: Sequence[Sequence[Example]]) -> Tensor:
        """Mean loss per answer token of each configuration, (K,)."""
        examples = [example for part in parts for example in part]
        batch = collate_end_to_end(examples, str(self.model.device))
        rows = Rows.of([len(example.tokens) for example in examples], self.model.device)
        logits, labels = answer_logits(self.model, batch, rows=rows)
        counts = torch.tensor([padded_shape(part).labels for part in parts], device=logits.device)
        owners = torch.repeat_interleave(torch.arange(len(parts), device=logits.device), counts)
        each = F.cross_entropy(logits, labels, reduction="none")
        return each.new_zeros(len(parts)).index_add(0, owners, each) / counts

    def _prepare(self, i: int, step: int, loss: float) -> float:
        """Make a configuration ready for the optimizer; returns its gradient's norm before clipping."""
        member, norm = self.trained[i], _norm(self.leaves[i])
        config = member.configuration.training
        try:
            check_loss(loss, norm, step, self.model.config.vocab_size)
        except Diverged as outcome:
            member.diverged = member.diverged or outcome
        rate = 0.0 if member.diverged else config.learning_rate * learning_rate_factor(config, step)
        of_a, of_b = self.optimizer.param_groups[2 * i : 2 * i + 2]
        of_a["lr"], of_b["lr"] = rate, rate * config.lora_plus_ratio
        if member.diverged:
            _clear(self.leaves[i])
        else:
            _clip(self.leaves[i], norm, config.max_grad_norm)
        return norm


def _norm(leaves: Sequence[Tensor]) -> float:
    return math.hypot(*(leaf.grad.norm().item() for leaf in leaves if leaf.grad is not None))


def _clip(leaves: Sequence[Tensor], norm: float, largest: float) -> None:
    """As torch's clip_grad_norm_ does it."""
    for leaf in leaves:
        if leaf.grad is not None and norm + 1e-6 > largest:
            leaf.grad.mul_(largest / (norm + 1e-6))


def _clear(leaves: Sequence[Tensor]) -> None:
    """Take a configuration that diverged out of the computation, where its numbers would be slow and stay."""
    for leaf in leaves:
        leaf.detach().zero_()
        if leaf.grad is not None:
            leaf.grad.zero_()


def initial_weights(model: PreTrainedModel, adapter: Adapter) -> Weights:
    """A and B of each target module as PEFT starts them."""
    peft_model = add_adapter(model, adapter)
    weights = {name: (a.detach().clone(), b.detach().clone()) for name, (a, b) in adapter_weights(peft_model).items()}
    peft_model.unload()
    return weights


def with_trained(model: PreTrainedModel, trained: Trained) -> PeftModel:
    """The base with the trained adapter in it, as PEFT has it: to evaluate and to save; `unload()` takes it out."""
    peft_model = add_adapter(model, trained.configuration.adapter)
    with torch.no_grad():
        for name, (a, b) in adapter_weights(peft_model).items():
            a.copy_(trained.weights[name][0])
            b.copy_(trained.weights[name][1])
    peft_model.eval()
    return peft_model


def train_packed(
    model: PreTrainedModel,
    examples: Sequence[Example],
    configurations: Sequence[Configuration],
    on_step: OnPackedStep | None = None,
    checkpoints: Checkpoints | None = None,
) -> list[Trained]:
    """Train all configurations together; ValueError when they cannot be.

    `on_step` hears of each configuration's steps. One that diverges says so in its result and leaves the others alone.
    `checkpoints` are as in worker.training.loop: on a resume, `on_step` hears of the steps before again.
    """
    check_packable(configurations)
    pack = Pack(model, configurations)
    state = pack.state(examples)
    if checkpoints and restore_checkpoint(checkpoints.folder, state):
        pack.recall_outcomes(state)
        for step in range(state.steps_done):
            _report(pack.trained, step, on_step)
    model.train()
    try:
        with attention_end_to_end(model), packed_layers(model, pack.adapters) as tokens:
            for step, parts in islice(enumerate(_batches(pack, examples)), state.steps_done, None):
                pack.step(step, parts, tokens)
                if checkpoints and (step + 1) % checkpoints.every_steps == 0:
                    state.notes.update(pack.outcomes())
                    save_checkpoint(checkpoints.folder, state)
                _report(pack.trained, step, on_step)
                _tell(pack.trained, step)
    finally:
        model.eval()
    return pack.trained


def _batches(pack: Pack, examples: Sequence[Example]) -> Iterator[list[list[Example]]]:
    """For each step, the examples of each configuration: the same as it would see alone."""
    orders = [data_order(len(examples), member.configuration.training) for member in pack.trained]
    for parts in zip(*orders, strict=True):
        yield [[examples[i] for i in part] for part in parts]


def _report(trained: Sequence[Trained], step: int, on_step: OnPackedStep | None) -> None:
    for i, member in enumerate(trained):
        if on_step and step < len(member.result.losses):
            on_step(i, step, member.result.losses[step])


def _tell(trained: Sequence[Trained], step: int) -> None:
    """The step of all that have not diverged, together."""
    results = [member.result for member in trained if step < len(member.result.losses)]
    if results:
        loss = statistics.fmean(result.losses[step] for result in results)
        tokens = sum(shape.tokens for result in results for shape in result.shapes[step])
        tell(Step(step + 1, trained[0].configuration.training.steps, loss, tokens, results[0].seconds[step]))


def check_packable(configurations: Sequence[Configuration]) -> None:
    """ValueError unless the configurations can share batches and are what the packed product computes."""
    first = configurations[0].training
    for configuration in configurations:
        training = configuration.training
        if any(getattr(training, name) != getattr(first, name) for name in SHARED):
            raise ValueError(f"Invalid configurations: packed ones share {', '.join(SHARED)}")
        if configuration.adapter.dropout:
            raise ValueError("Invalid configurations: packed training has no dropout")
    if first.accumulation > 1 or first.packed_length or first.precision != "float32" or first.gradient_checkpointing:
        raise ValueError("Invalid configurations: packed training has float32 batches in one part and no packed_length")
