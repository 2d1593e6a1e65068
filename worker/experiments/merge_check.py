"""Train adapters, merge them in several number formats and into 4-bit bases, and compare outputs and speed."""

import copy
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from labs.catalog.merge_check import FourBit, MergeCheckParameters, MergePath
from worker.adapters import Adapter, add_adapter, save_adapter
from worker.context import Point, RunContext
from worker.merging import (
    Part,
    adapted_parts,
    budget,
    lora_layers,
    merge,
    packed_codes,
    read_weight,
    same_codes,
    update_share,
)
from worker.quantisation import to_four_bit
from worker.training.config import usual_config
from worker.training.examples import Example, FactExamples, collate, encode_facts
from worker.training.loop import train
from worker.training.loss import evaluate

PROBES = 16  # questions whose logits are compared at every position
WARMUP_PASSES = 2  # first passes choose kernels and fill caches


@dataclass(frozen=True)
class Training:
    """What an adapter of one seed is trained with."""

    params: MergeCheckParameters
    lab: RunContext
    seed: int
    examples: FactExamples


@dataclass(frozen=True)
class Check(Training):
    """One seed's comparison in ordinary number formats: its trained adapter lies in a folder."""

    folder: Path


@dataclass(frozen=True)
class FourBitCheck(Training):
    """One seed's comparison on a 4-bit base."""

    form: FourBit


def run(params: MergeCheckParameters, lab: RunContext) -> None:
    examples = encode_facts(lab.data("facts"), lab.tokenizer(params.model))
    stages = 1 + len(params.dtypes) + len(params.four_bit)
    total = stages * len(lab.seeds)
    for i, seed in enumerate(lab.seeds):
        for j, form in enumerate(params.four_bit):
            lab.progress(stages * i + j, total, f"seed {seed}: merging into {form}")
            check_four_bit(FourBitCheck(params, lab, seed, examples, form))
        if all(last_point(lab, seed, dtype).is_finished for dtype in params.dtypes):
            continue
        with tempfile.TemporaryDirectory(dir=lab.scratch) as folder:
            check = Check(params, lab, seed, examples, Path(folder))
            done = stages * i + len(params.four_bit)
            lab.progress(done, total, f"seed {seed}: training an adapter")
            save_adapter(train_adapter(check, lab.model(params.model), lab.point(seed=seed)), check.folder)
            for j, dtype in enumerate(params.dtypes, start=1):
                lab.progress(done + j, total, f"seed {seed}: merging in {dtype}")
                check_dtype(check, dtype)
    lab.progress(total, total)


def is_timed(lab: RunContext, dtype: str) -> bool:
    """Most CPUs cannot multiply in float16: what they do instead takes many times as long, and nobody serves so."""
    return dtype != "float16" or lab.device != "cpu"


def last_point(lab: RunContext, seed: int, dtype: str) -> Point:
    """The last thing that is logged for a format: with it, all is there."""
    return lab.point(seed=seed, dtype=dtype, **({"variant": "merged"} if is_timed(lab, dtype) else {}))


def train_adapter(check: Training, base: PreTrainedModel, point: Point) -> PeftModel:
    """The base with a trained adapter. After a restart it is trained again: quick, and it gives the same adapter."""
    params = check.params
    model = add_adapter(base, Adapter(params.rank, params.alpha, params.target_modules, check.seed))
    config = usual_config(params, check.seed)
    with point:
        is_new = not point.is_finished
        train(
            base, check.examples.training, config, lambda i, loss: point.log("loss", loss, step=i) if is_new else None
        )
    return model


def check_dtype(check: Check, dtype: str) -> None:
    """Everything in one number format."""
    base = check.lab.model(check.params.model, getattr(torch, dtype))
    adapted = with_adapter(base, check.folder)
    with check.lab.point(seed=check.seed, dtype=dtype) as point:
        if not point.is_finished:
            compare_outputs(point, base, adapted, check.examples.validation[:PROBES])
    if not is_timed(check.lab, dtype):
        return
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
    point.log("second_merge_change", second_merge_change(adapted))
    adapted.unmerge_adapter()
    of_unmerged = probe_logits(adapted, probes)

    log_outputs(point, of_base, of_adapter, of_merged)
    point.log("roundtrip_weight_difference", largest_change(weights, adapted))
    point.log("roundtrip_logit_difference", (of_unmerged - of_adapter).abs().max().item())


def log_outputs(point: Point, of_base: Tensor, of_adapter: Tensor, of_merged: Tensor) -> None:
    difference = (of_merged - of_adapter).abs()
    effect = (of_adapter - of_base).abs().max().item()
    point.log("max_logit_difference", difference.max().item())
    point.log("mean_logit_difference", difference.mean().item())
    point.log("adapter_effect", effect)
    point.log("relative_logit_difference", difference.max().item() / effect)
    point.log("top1_agreement", (of_merged.argmax(-1) == of_adapter.argmax(-1)).float().mean().item())


def second_merge_change(merged: PeftModel) -> float:
    """Largest change of a weight when PEFT is asked to merge what is merged: it refuses with a warning only."""
    before = [read_weight(layer.get_base_layer()).clone() for _, layer in lora_layers(merged)]
    merged.merge_adapter()
    after = [read_weight(layer.get_base_layer()) for _, layer in lora_layers(merged)]
    return max((a.float() - b.float()).abs().max().item() for a, b in zip(after, before, strict=True))


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


# --- 4-bit bases ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FourBitStudy:
    """A 4-bit base without and with its trained adapter, and what both give before anything is merged."""

    check: FourBitCheck
    plain: PreTrainedModel
    adapted: PeftModel
    parts: list[Part]
    of_base: Tensor
    of_adapter: Tensor
    loss: float  # of the unmerged adapter


def check_four_bit(check: FourBitCheck) -> None:
    """An adapter trained on the 4-bit base, as in QLoRA, and every way to merge it."""
    lab, form, seed = check.lab, check.form, check.seed
    paths: tuple[MergePath, ...] = get_args(MergePath)
    if all(lab.point(seed=seed, base=form, path=path).is_finished for path in paths):
        return
    original = lab.model(check.params.model)
    study = prepare_four_bit(check, to_four_bit(copy.deepcopy(original), form))
    for path in paths:  # PEFT's own comes last: it changes the model in place
        with lab.point(seed=seed, base=form, path=path) as point:
            if point.is_finished:
                continue
            if path == "peft":
                log_peft(study, point)
            else:
                merged = merge(study.plain, study.parts, path, form, original)
                log_merged(study, point, merged)
                if path == "requantise":
                    log_codes(study, point, packed_codes(merged, study.parts))


def prepare_four_bit(check: FourBitCheck, base: PreTrainedModel) -> FourBitStudy:
    """Train the adapter, and log what it does unmerged."""
    probes, validation = check.examples.validation[:PROBES], check.examples.validation
    plain = copy.deepcopy(base)
    of_base, base_loss = probe_logits(plain, probes), evaluate(plain, validation).loss
    adapted = train_adapter(check, base, check.lab.point(seed=check.seed, base=check.form)).eval()
    parts, loss = adapted_parts(adapted), evaluate(base, validation).loss
    for path, found in (("base", base_loss), ("adapter", loss)):
        with check.lab.point(seed=check.seed, base=check.form, path=path) as point:
            if not point.is_finished:
                point.log("validation_loss", found)
                if path == "adapter":
                    point.log("update_share", update_share(parts))
    return FourBitStudy(check, plain, adapted, parts, of_base, probe_logits(adapted, probes), loss)


def log_merged(study: FourBitStudy, point: Point, merged: PreTrainedModel) -> None:
    """Weights, logits and loss of a merged model, against those of the unmerged adapter."""
    found = budget(study.parts, [read_weight(merged.get_submodule(part.name)) for part in study.parts])
    point.log("update_error", found.error)
    point.log("update_kept", found.kept)
    log_outputs(point, study.of_base, study.of_adapter, probe_logits(merged, study.check.examples.validation[:PROBES]))
    loss = evaluate(merged, study.check.examples.validation).loss
    point.log("validation_loss", loss)
    point.log("loss_above_adapter", loss - study.loss)


def log_peft(study: FourBitStudy, point: Point) -> None:
    """PEFT's merge into the 4-bit layers, a second one, and the way back."""
    study.adapted.merge_adapter()
    point.log("second_merge_change", second_merge_change(study.adapted))
    merged = copy.deepcopy(study.plain)
    for name, layer in lora_layers(study.adapted):
        merged.set_submodule(name, copy.deepcopy(layer.get_base_layer()))
    log_merged(study, point, merged)
    log_codes(study, point, packed_codes(merged, study.parts))
    study.adapted.unmerge_adapter()
    back = [read_weight(layer.get_base_layer()) for _, layer in lora_layers(study.adapted)]
    difference = max((w - part.weight).abs().max().item() for w, part in zip(back, study.parts, strict=True))
    point.log("roundtrip_weight_difference", difference)


def log_codes(study: FourBitStudy, point: Point, codes: list[Tensor]) -> None:
    point.log("codes_unchanged", same_codes(packed_codes(study.plain, study.parts), codes))
