"""What training costs in floating-point operations, and how much of the machine it uses."""

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from worker.training.examples import Batch, Example, Shape, collate
from worker.training.loss import Objective, answer_loss

PROBE = 4  # tokens of the smallest probe
MATRIX = 1024  # of the product that measures what the machine can do: beyond its caches, and quick


@dataclass(frozen=True)
class Flops:
    """Operations of a forward and backward pass: rows · (fixed + linear · T + quadratic · T²) + label · labels.

    T is the padded length of a row; fixed is not zero for methods that put virtual tokens before the row. What gradient
    checkpointing computes again does not count, nor do the optimizer's few operations a weight.
    """

    fixed: float
    linear: float
    quadratic: float
    label: float

    def of(self, shape: Shape) -> float:
        rows, length, _, labels = shape
        return rows * (self.fixed + self.linear * length + self.quadratic * length**2) + self.label * labels


def measure_flops(model: PreTrainedModel, objective: Objective = answer_loss) -> Flops:
    """Count four small passes and solve for the terms, which is exact; gradients and random state stay as they are."""
    counts = [_count(model, objective, length * PROBE, labels) for length, labels in ((1, 1), (2, 1), (3, 1), (1, 2))]
    one, two, three, more_labels = counts
    label = float(more_labels - one)
    # Second differences over T = p, 2p, 3p give the quadratic term, first differences what is left.
    quadratic = (three - 2 * two + one) / (2 * PROBE**2)
    linear = (two - one) / PROBE - 3 * PROBE * quadratic
    fixed = one - label - linear * PROBE - quadratic * PROBE**2
    return Flops(fixed, linear, quadratic, label)


def _count(model: PreTrainedModel, objective: Objective, length: int, labels: int) -> int:
    batch: Batch = collate([Example(tuple(range(1, length + 1)), length - labels)], str(model.device))
    trained = [p for p in model.parameters() if p.requires_grad]
    devices = [model.device] if model.device.type == "cuda" else []
    # The plain attention kernel, because the counter does not know the fused one of the CPU.
    with torch.random.fork_rng(devices), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss: Tensor = objective(model, batch)
        torch.autograd.grad(loss, trained, allow_unused=True)
    return int(counter.get_total_flops())


def total_flops(flops: Flops, steps: Iterable[Iterable[Shape]]) -> float:
    """Of all steps of a training (`TrainingResult.shapes`)."""
    return sum(flops.of(Shape(*shape)) for shape in itertools.chain.from_iterable(steps))


def peak_flops_per_second(device: str = "cpu", dtype: torch.dtype = torch.float32, rounds: int = 10) -> float:
    """What this machine reaches on a product of two large matrices: the best of some rounds.

    Utilisation is a share of this, not of a data sheet's figure, which no program reaches.
    """
    a, b = torch.rand(MATRIX, MATRIX, device=device).to(dtype), torch.rand(MATRIX, MATRIX, device=device).to(dtype)
    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        (a @ b)[0, 0].item()  # reading a value waits for the device
        times.append(time.perf_counter() - started)
    return 2 * float(MATRIX) ** 3 / min(times[1:])
