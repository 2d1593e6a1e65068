"""The same adapter trained on bases of 32, 16 and 4 bits: loss, gradients, memory, time."""

import copy
import statistics
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from transformers import PreTrainedModel

from labs.catalog.qlora_train import METHODS, Method, QloraTrainParameters
from worker.adapters import Adapter, adapter_weights, add_adapter
from worker.context import Point, RunContext
from worker.keeping import Base, keep_adapter
from worker.quantisation import from_four_bit, layer_linears, model_tensors, stored_bytes, to_four_bit
from worker.training.config import TrainingConfig, usual_config
from worker.training.examples import Batch, FactExamples, collate, encode_facts
from worker.training.loop import train
from worker.training.loss import answer_loss, evaluate
from worker.training.optimizer import make_optimizer
from worker.training.outcomes import Diverged

REFERENCE: Method = "lora-float32"
KEPT: dict[Method, Base] = {"lora-float32": "float32", "qlora": "nf4"}  # adapters, and the base of each
WARMUP_PASSES = 2  # first steps choose kernels and fill caches
TIMING_RATE = 1e-9  # timed steps hardly move the adapter, so none of them can diverge
MB = 1e6


@dataclass(frozen=True)
class Study:
    """What all methods share."""

    params: QloraTrainParameters
    lab: RunContext
    examples: FactExamples
    bases: dict[Method, PreTrainedModel]

    def adapter(self, seed: int) -> Adapter:
        return Adapter(self.params.rank, self.params.alpha, self.params.target_modules, seed)

    def config(self, seed: int, steps: int) -> TrainingConfig:
        return usual_config(self.params, seed, steps=steps)

    def batch(self) -> Batch:
        """What gradients and memory are measured on: the same for every seed."""
        return collate(self.examples.training[: self.params.batch_size], self.lab.device)


def run(params: QloraTrainParameters, lab: RunContext) -> None:
    methods = sorted(params.methods, key=lambda method: method != REFERENCE)  # the others are compared with it
    if all(lab.point(seed=seed, method=method, part="time").is_finished for seed in lab.seeds for method in methods):
        return
    stages = len(methods) + 1
    bases: dict[Method, PreTrainedModel] = {}
    study = Study(params, lab, encode_facts(lab.data("facts"), lab.tokenizer(params.model)), bases)
    for i, method in enumerate(methods):
        lab.progress(i, stages, METHODS[method])
        bases[method] = load_base(params, lab, method)
        measure_memory(study, method)
        base_loss = evaluate(bases[method], study.examples.validation).loss
        for seed in lab.seeds:
            with lab.point(seed=seed, method=method) as point:
                if not point.is_finished:
                    point.log("base_loss", base_loss)
                    compare_gradients(study, point, method)
                    measure_training(study, point, method)
    lab.progress(stages - 1, stages, "timing")
    for seed in lab.seeds:
        time_steps(study, seed)
    lab.progress(stages, stages)


def load_base(params: QloraTrainParameters, lab: RunContext, method: Method) -> PreTrainedModel:
    base = lab.model(params.model, torch.bfloat16 if method.endswith("bfloat16") else torch.float32)
    return to_four_bit(base) if method.startswith("qlora") else base


# --- training ---------------------------------------------------------------------------------------------------------


def measure_training(study: Study, point: Point, method: Method) -> None:
    """Train one adapter; the base is as before when this returns. Divergence is a result like others."""
    base = study.bases[method]
    adapted = add_adapter(base, study.adapter(point.seed))
    config = study.config(point.seed, study.params.steps)
    try:
        train(base, study.examples.training, config, lambda step, loss: point.log("loss", loss, step=step))
        point.log("diverged", 0)
        point.log("validation_loss", evaluate(base, study.examples.validation).loss)
        if method in KEPT:
            keep_adapter(study.lab, point, adapted, model=study.params.model, base=KEPT[method])
    except Diverged:
        point.log("diverged", 1)
        return
    finally:
        adapted.unload()
    reference = study.lab.point(seed=point.seed, method=REFERENCE)
    if method != REFERENCE and reference.value("diverged") == 0:
        point.log("validation_loss_above", point.value("validation_loss") - reference.value("validation_loss"))


# --- gradients --------------------------------------------------------------------------------------------------------


def compare_gradients(study: Study, point: Point, method: Method) -> None:
    """Of the same adapter on the same batch before any step, when only B has a gradient."""
    base = study.bases[method]
    gradient, frozen = first_gradient(study, base, point.seed)
    point.log("base_gradients", frozen)
    if method != REFERENCE:
        of_reference, _ = first_gradient(study, study.bases[REFERENCE], point.seed)
        point.log("gradient_cosine", torch.cosine_similarity(gradient, of_reference, dim=0).item())
    if method.startswith("qlora"):
        ordinary = from_four_bit(copy.deepcopy(base), next(base.parameters()).dtype)
        expected, _ = first_gradient(study, ordinary, point.seed)
        point.log("gradient_error", ((gradient - expected).norm() / expected.norm()).item())


def first_gradient(study: Study, base: PreTrainedModel, seed: int) -> tuple[Tensor, int]:
    """The gradients of all B as one vector, and how many of the base's weights got one."""
    adapted = add_adapter(base, study.adapter(seed))
    answer_loss(base, study.batch()).backward()
    gradients = [b.grad.float().flatten() for _, b in adapter_weights(adapted).values() if b.grad is not None]
    frozen = sum(p.grad is not None for name, p in adapted.named_parameters() if "lora_" not in name)
    adapted.unload()
    return torch.cat(gradients), frozen


# --- memory -----------------------------------------------------------------------------------------------------------


def measure_memory(study: Study, method: Method) -> None:
    """By kind, the same for every seed. The resident set would tell more about the allocator than about the method."""
    points = {seed: study.lab.point(seed=seed, method=method, part="memory") for seed in study.lab.seeds}
    if all(point.is_finished for point in points.values()):
        return
    found = count_memory(study, method)
    for seed, total in points.items():
        for kind, size in found.items():
            with study.lab.point(seed=seed, method=method, kind=kind) as point:
                if not point.is_finished:
                    point.log("bytes", size / MB)
        with total as point:
            if not point.is_finished:
                point.log("training_bytes", sum(found.values()) / MB)
                if method != REFERENCE:
                    reference = study.lab.point(seed=seed, method=REFERENCE, part="memory").value("training_bytes")
                    point.log("memory_share", point.value("training_bytes") / reference)


def count_memory(study: Study, method: Method) -> dict[str, int]:
    """Bytes by kind, of one step of training on one batch."""
    base = study.bases[method]
    weights = stored_bytes(model_tensors(base))
    known = {tensor.untyped_storage().data_ptr() for tensor in model_tensors(base)}
    largest = max(linear.in_features * linear.out_features for _, _, linear in layer_linears(base))
    adapted = add_adapter(base, study.adapter(0))
    trained = [p for p in adapted.parameters() if p.requires_grad]
    known |= {p.untyped_storage().data_ptr() for p in trained}
    base.train()
    kept = kept_for_backward(base, study.batch(), known)
    optimizer = make_optimizer(base, study.config(0, 1))
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    gradients = [p.grad for p in trained if p.grad is not None]
    found = {"base": weights, "adapter": stored_bytes([*trained, *gradients, *states]), "activations": kept}
    adapted.unload()
    base.eval()
    if method.startswith("qlora"):
        found["copy"] = largest * next(base.parameters()).element_size()
    return found


def kept_for_backward(model: PreTrainedModel, batch: Batch, known: set[int]) -> int:
    """Bytes of all tensors, other than weights, that a forward pass keeps until the backward pass, which is done too.

    Each storage counts once: what two operations keep is kept once.
    """
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        loss = answer_loss(model, batch)
    loss.backward()
    return sum(storages.values())


# --- time -------------------------------------------------------------------------------------------------------------


def time_steps(study: Study, seed: int) -> None:
    """Median time of a step of each method on the same batch; they take turns, so a busy machine slows all alike."""
    points = {method: study.lab.point(seed=seed, method=method, part="time") for method in study.bases}
    if all(point.is_finished for point in points.values()):
        return
    adapted = {method: add_adapter(base, study.adapter(seed)) for method, base in study.bases.items()}
    config = replace(study.config(seed, 1), learning_rate=TIMING_RATE)
    seconds: dict[Method, list[float]] = {method: [] for method in study.bases}
    for _ in range(WARMUP_PASSES + study.params.repeats):
        for method, base in study.bases.items():
            seconds[method] += train(base, study.examples.training, config).seconds
    for model in adapted.values():
        model.unload()
    medians = {method: statistics.median(times[WARMUP_PASSES:]) for method, times in seconds.items()}
    for method, point in points.items():
        with point:
            if not point.is_finished:
                point.log("step_time", 1000 * medians[method])
                point.log("step_time_ratio", medians[method] / medians[REFERENCE])
