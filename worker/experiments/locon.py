"""Adapt a small convolutional network to changed images: LoCon by rank, full fine-tuning, the last layer alone."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from labs.catalog.locon import LoconParameters
from worker.context import Point, RunContext
from worker.digits import DigitsConfig, DigitsNet, as_examples, digit_images, digit_loss, evaluate_digits
from worker.training.config import TrainingConfig
from worker.training.examples import Example
from worker.training.loop import train
from worker.training.outcomes import Diverged

PRETRAINING, VALIDATION, TEST = 700, 200, 500  # images; the rest may be trained on
PRETRAINING_RATE = 1e-3
WARMUP_PART = 10  # a tenth of the steps
CONVOLUTIONS = ("conv1", "conv2", "conv3")


@dataclass(frozen=True)
class Task:
    """One seed's pretrained weights, and its images of the new task."""

    params: LoconParameters
    seed: int
    device: str
    pretrained: dict[str, Tensor]
    pretraining_error: float
    training: list[Example]
    validation: list[Example]
    test: list[Example]


@dataclass(frozen=True)
class Adapted:
    """The best network of one method."""

    network: DigitsNet
    learning_rate: float
    validation_loss: float


def run(params: LoconParameters, lab: RunContext) -> None:
    methods: dict[str, int | None] = {"head": 0, **{f"r{rank}": rank for rank in params.ranks}, "full": None}
    total = len(lab.seeds) * len(methods)
    for i, seed in enumerate(lab.seeds):
        # What is logged last for a seed.
        if all(lab.point(seed=seed, rank=rank).is_finished for rank in params.ranks):
            continue
        lab.progress(i * len(methods), total, f"seed {seed}")
        task = make_task(params, seed, lab.device)
        full = adapt(task, rank=None)
        for j, (name, rank) in enumerate(methods.items(), start=1):
            with lab.point(seed=seed, trained=name) as point:
                if not point.is_finished:
                    log_method(task, point, rank, full)
            lab.progress(i * len(methods) + j, total, f"seed {seed}: {name}")
        for rank in params.ranks:
            with lab.point(seed=seed, rank=rank) as point:
                if not point.is_finished and full[0]:
                    point.log("full_update_energy", 100 * energy_share(task, full[0].network, rank))
    lab.progress(total, total)


# --- data and pretraining ---------------------------------------------------------------------------------------------


def make_task(params: LoconParameters, seed: int, device: str) -> Task:
    """Split the images, pretrain on some upright ones, change the others."""
    images, digits = digit_images()
    order = np.random.default_rng(seed).permutation(len(images))
    upright, rest = order[:PRETRAINING], order[PRETRAINING:]
    network = new_network(seed, device)
    config = TrainingConfig(params.pretraining_steps, params.batch_size, PRETRAINING_RATE, seed)
    train(network, as_examples(images[upright], digits[upright]), config, objective=digit_loss)
    _, error = evaluate_digits(network, as_examples(images[rest], digits[rest]))
    changed = as_examples(shifted(images[rest], params.shift), digits[rest])
    validation, test, training = np.split(np.arange(len(changed)), [VALIDATION, VALIDATION + TEST])

    def chosen(indices: np.ndarray) -> list[Example]:
        return [changed[i] for i in indices]

    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    return Task(
        params=params,
        seed=seed,
        device=device,
        pretrained=weights,
        pretraining_error=error,
        training=chosen(training[: params.examples]),
        validation=chosen(validation),
        test=chosen(test),
    )


def shifted(images: np.ndarray, shift: str) -> np.ndarray:
    """(N, 8, 8) turned by a quarter, or with dark and light exchanged."""
    return np.rot90(images, axes=(1, 2)) if shift == "rotated" else images.max() - images


def new_network(seed: int, device: str) -> DigitsNet:
    torch.manual_seed(seed)
    return DigitsNet(DigitsConfig()).to(device)  # type: ignore[arg-type]


# --- methods ----------------------------------------------------------------------------------------------------------


def prepare(network: DigitsNet, rank: int | None) -> None:
    """Make the right parameters trainable, in place: all for None, only the last layer for rank 0."""
    nn.init.zeros_(network.head.weight)
    nn.init.zeros_(network.head.bias)
    if rank:
        add_locon(network, rank)
    elif rank == 0:
        network.requires_grad_(False)
        network.head.requires_grad_(True)


def add_locon(network: DigitsNet, rank: int) -> PeftModel:
    """PEFT's LoRA on the convolutions, in place; α = 2r."""
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(CONVOLUTIONS), modules_to_save=["head"])
    return get_peft_model(network, config)


def adapt(task: Task, rank: int | None) -> tuple[Adapted | None, int]:
    """The network with the lowest validation loss over the learning rates (None if all diverged), and how many did."""
    best, diverged = None, 0
    for rate in task.params.learning_rates:
        network = new_network(task.seed, task.device)
        network.load_state_dict(task.pretrained)
        prepare(network, rank)
        config = TrainingConfig(
            steps=task.params.steps,
            batch_size=task.params.batch_size,
            learning_rate=rate,
            seed=task.seed,
            schedule="linear",  # without decay, which method comes out best is left to the last few batches
            warmup_steps=task.params.steps // WARMUP_PART,
        )
        try:
            train(network, task.training, config, objective=digit_loss)
        except Diverged:
            diverged += 1
            continue
        loss, _ = evaluate_digits(network, task.validation)
        if math.isfinite(loss) and (best is None or loss < best.validation_loss):
            best = Adapted(network, rate, loss)
    return best, diverged


def log_method(task: Task, point: Point, rank: int | None, full: tuple[Adapted | None, int]) -> None:
    """One method; of one that diverged at every rate nothing but that is known."""
    found, diverged = full if rank is None else adapt(task, rank)
    point.log("diverged", diverged)
    point.log("pretraining_error", 100 * task.pretraining_error)
    if found is None:
        return
    loss, error = evaluate_digits(found.network, task.test)
    point.log("test_loss", loss)
    point.log("test_error", 100 * error)
    point.log("learning_rate", found.learning_rate)
    trained = trainable_kernels(found.network)
    point.log("trainable_parameters", trained)
    if trained:
        kernels = sum(task.pretrained[f"{name}.weight"].numel() for name in CONVOLUTIONS)
        point.log("reduction", kernels / trained)
    if full[0]:
        point.log("error_over_full", 100 * (error - evaluate_digits(full[0].network, task.test)[1]))


def trainable_kernels(network: nn.Module) -> int:
    """Trainable weights of the convolutions."""
    return sum(p.numel() for name, p in network.named_parameters() if p.requires_grad and "head" not in name)


def energy_share(task: Task, network: DigitsNet, rank: int) -> float:
    """How much of the squared norm of all kernels' updates lies in their best approximations of that rank."""
    kept = total = 0.0
    weights = network.state_dict()
    for name in CONVOLUTIONS:
        update = (weights[f"{name}.weight"] - task.pretrained[f"{name}.weight"]).double().flatten(1)
        squares = torch.linalg.svdvals(update).square()
        kept += squares[:rank].sum().item()
        total += squares.sum().item()
    return kept / total
