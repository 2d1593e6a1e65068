"""Train an adapter, merge it in several number formats, and compare outputs and speed."""

import copy
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from labs.catalog.merge_check import MergeCheckParameters
from worker.adapters import Adapter, add_adapter, save_adapter
from worker.context import Point, RunContext
from worker.experiments.rank_sweep import WARMUP_STEPS
from worker.training.config import TrainingConfig
from worker.training.examples import Example, FactExamples, collate, encode_facts
from worker.training.loop import train

PROBES = 16  # questions whose logits are compared at every position
WARMUP_PASSES = 2  # first passes choose kernels and fill caches


@dataclass(frozen=True)
class Check:
    """One seed's comparison: what to compare, and where its trained adapter lies."""

    params: MergeCheckParameters
    lab: RunContext
    seed: int
    examples: FactExamples
    folder: Path


def run(params: MergeCheckParameters, lab: RunContext) -> None:
    examples = encode_facts(lab.data("facts"), lab.tokenizer(params.model))
    stages = 1 + len(params.dtypes)
    total = stages * len(lab.seeds)
    for i, seed in enumerate(lab.seeds):
        # The last thing that is logged per format: with it, all is there.
        if all(lab.point(seed=seed, dtype=dtype, variant="merged").is_finished for dtype in params.dtypes):
            continue
        with tempfile.TemporaryDirectory(dir=lab.scratch) as folder:
            check = Check(params, lab, seed, examples, Path(folder))
            lab.progress(stages * i, total, f"seed {seed}: training an adapter")
            train_adapter(check)
            for j, dtype in enumerate(params.dtypes, start=1):
                lab.progress(stages * i + j, total, f"seed {seed}: merging in {dtype}")
                check_dtype(check, dtype)
    lab.progress(total, total)


def train_adapter(check: Check) -> None:
    """Save a trained adapter. After a restart it is trained again, which is quick and gives the same adapter."""
    params = check.params
    adapter = Adapter(params.rank, params.alpha, params.target_modules, check.seed)
    base = check.lab.model(params.model)
    model = add_adapter(base, adapter)
    config = TrainingConfig(
        steps=params.steps,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        seed=check.seed,
        warmup_steps=min(WARMUP_STEPS, params.steps),
    )
    with check.lab.point(seed=check.seed) as point:
        is_new = not point.is_finished
        train(
            base, check.examples.training, config, lambda i, loss: point.log("loss", loss, step=i) if is_new else None
        )
    save_adapter(model, check.folder)


def check_dtype(check: Check, dtype: str) -> None:
    """Everything in one number format."""
    base = check.lab.model(check.params.model, getattr(torch, dtype))
    adapted = with_adapter(base, check.folder)
    with check.lab.point(seed=check.seed, dtype=dtype) as point:
        if not point.is_finished:
            compare_outputs(point, base, adapted, check.examples.validation[:PROBES])
    # Fresh copies for the timing, because unmerging need not restore the weights.
    variants = {
        "base": base,
        "adapter": with_adapter(base, check.folder),
        "merged": with_adapter(base, check.folder).merge_and_unload(),
    }
    for shape in check.params.shapes:
        time_shape(check, dtype, shape, variants)
    log_ratios(check, dtype)


def with_adapter(base: PreTrainedModel, folder: Path) -> PeftModel:
    """A copy of the base with the adapter in the base's number format, as it would be served.

    PEFT takes that format over by itself. `model.to` would also round the frequencies of the rotary embedding.
    """
    return PeftModel.from_pretrained(copy.deepcopy(base), str(folder), autocast_adapter_dtype=False).eval()


def compare_outputs(point: Point, base: PreTrainedModel, adapted: PeftModel, probes: list[Example]) -> None:
    """Logits of base, adapter, merged and unmerged model on the same questions."""
    weights = {name: w.clone() for name, w in adapted.named_parameters() if name.endswith("base_layer.weight")}
    of_base = probe_logits(base, probes)
    of_adapter = probe_logits(adapted, probes)
    adapted.merge_adapter()
    of_merged = probe_logits(adapted, probes)
    adapted.unmerge_adapter()
    of_unmerged = probe_logits(adapted, probes)

    difference = (of_merged - of_adapter).abs()
    effect = (of_adapter - of_base).abs().max().item()
    point.log("max_logit_difference", difference.max().item())
    point.log("mean_logit_difference", difference.mean().item())
    point.log("adapter_effect", effect)
    point.log("relative_logit_difference", difference.max().item() / effect)
    point.log("top1_agreement", (of_merged.argmax(-1) == of_adapter.argmax(-1)).float().mean().item())
    point.log("roundtrip_weight_difference", largest_change(weights, adapted))
    point.log("roundtrip_logit_difference", (of_unmerged - of_adapter).abs().max().item())


@torch.inference_mode()
def probe_logits(model: PreTrainedModel | PeftModel, probes: list[Example]) -> Tensor:
    """Logits at all real positions, (N, V) in float32; one row at a time, so that padding plays no part."""
    rows = [model(input_ids=collate([example], str(model.device)).tokens).logits[0] for example in probes]
    return torch.cat(rows).float()


def largest_change(before: dict[str, Tensor], model: PeftModel) -> float:
    after = dict(model.named_parameters())
    return max((after[name].float() - weight.float()).abs().max().item() for name, weight in before.items())


def time_shape(check: Check, dtype: str, shape: str, variants: dict[str, PreTrainedModel]) -> None:
    """Median time of a forward pass of each variant; they take turns, so that a busy machine slows all alike."""
    points = {name: check.lab.point(seed=check.seed, dtype=dtype, shape=shape, variant=name) for name in variants}
    if all(point.is_finished for point in points.values()):
        return
    batch, length = (int(number) for number in shape.split("x"))
    generator = torch.Generator().manual_seed(check.seed)
    tokens = torch.randint(0, variants["base"].config.vocab_size, (batch, length), generator=generator)
    tokens = tokens.to(variants["base"].device)
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(WARMUP_PASSES + check.params.repeats):
        for variant, model in variants.items():
            seconds[variant].append(time_pass(model, tokens))
    medians = {variant: statistics.median(times[WARMUP_PASSES:]) for variant, times in seconds.items()}
    for variant, point in points.items():
        with point:
            if not point.is_finished:
                point.log("latency", 1000 * medians[variant])
                point.log("latency_ratio", medians[variant] / medians["base"])


@torch.inference_mode()
def time_pass(model: PreTrainedModel, tokens: Tensor) -> float:
    """Seconds of one forward pass without a key–value cache."""
    started = time.perf_counter()
    model(input_ids=tokens, use_cache=False)
    if tokens.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def log_ratios(check: Check, dtype: str) -> None:
    """Per variant, the geometric mean over shapes of its time relative to the base model."""
    for variant in ("adapter", "merged"):
        with check.lab.point(seed=check.seed, dtype=dtype, variant=variant) as point:
            if point.is_finished:
                continue
            ratios = [
                check.lab.point(seed=check.seed, dtype=dtype, shape=shape, variant=variant).value("latency_ratio")
                for shape in check.params.shapes
            ]
            point.log("latency_ratio", statistics.geometric_mean(ratios))
