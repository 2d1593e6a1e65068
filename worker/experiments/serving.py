"""Time a model with LoRA, bottleneck adapters or a prefix, and with several LoRA adapters at once."""

import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from peft import PeftModel, PrefixTuningConfig, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from labs.catalog.serving import ServingParameters, sizes
from worker.adapters import Adapter, add_adapter
from worker.bottleneck import add_bottlenecks
from worker.context import RunContext

WARMUP_PASSES = 2  # first passes choose kernels and fill caches
B_DEVIATION = 0.02  # of the random B: no time depends on the values, but an adapter of zeros could not be told apart
ONE_FOR_ALL = ("base", "merged", "adapter", "bottleneck", "prefix")
Pass = Callable[[Tensor], Tensor]  # tokens (B, T) → logits (B, T, V)


@dataclass(frozen=True)
class Served:
    """One seed's models; they share the base's weights, but for the merged one."""

    base: PreTrainedModel
    adapted: PeftModel  # has all LoRA adapters
    merged: PreTrainedModel
    bottleneck: PreTrainedModel
    prefix: PeftModel
    names: list[str]


def run(params: ServingParameters, lab: RunContext) -> None:
    total = len(lab.seeds) * (1 + len(params.shapes))
    done = 0
    for seed in lab.seeds:
        shapes = [shape for shape in params.shapes if not lab.point(seed=seed, shape=shape, variant="base").is_finished]
        if not shapes and lab.point(seed=seed).is_finished:
            done += 1 + len(params.shapes)
            continue
        served = build(lab.model(params.model), params, seed)
        log_parameters(lab, served, seed)
        for shape in params.shapes:
            lab.progress(done, total, f"seed {seed}: {shape}")
            if shape in shapes:
                log_shape(lab, served, seed, shape, params.repeats)
            done += 1
        lab.progress(done, total, f"seed {seed}: switching, loading, merging")
        log_changes(lab, served, seed, params.repeats)
        done += 1
    lab.progress(total, total)


# --- models -----------------------------------------------------------------------------------------------------------


def build(base: PreTrainedModel, params: ServingParameters, seed: int) -> Served:
    adapted = with_adapters(shared_copy(base), params, seed)
    merged = with_adapters(copy.deepcopy(base), params, seed).merge_and_unload()
    bottleneck = shared_copy(base)
    for adapter in add_bottlenecks(bottleneck, params.bottleneck, seed):
        nn.init.normal_(adapter.up.weight, std=B_DEVIATION)
    config = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=params.prefix)
    prefix = get_peft_model(shared_copy(base), config)
    return Served(base, adapted, merged.eval(), bottleneck.eval(), prefix.eval(), list(adapted.peft_config))


def shared_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the modules with the same tensors."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def with_adapters(base: PreTrainedModel, params: ServingParameters, seed: int) -> PeftModel:
    """All LoRA adapters, in place, with random B; the first one is active."""
    adapted = add_adapter(base, Adapter(params.rank, 2 * params.rank, params.target_modules, seed))
    config = adapted.peft_config["default"]
    for i in range(1, params.adapters):
        adapted.add_adapter(f"adapter-{i}", copy.deepcopy(config))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data = (B_DEVIATION * torch.randn(parameter.shape, generator=generator)).to(parameter)
    return adapted.eval()


def log_parameters(lab: RunContext, served: Served, seed: int) -> None:
    base = sum(p.numel() for p in served.base.parameters())
    prompt = served.prefix.prompt_encoder.parameters()
    counts = {
        "adapter": (count(served.adapted) - base) // len(served.names),
        "bottleneck": count(served.bottleneck) - base,
        "prefix": sum(p.numel() for p in prompt),
    }
    for variant, found in counts.items():
        with lab.point(seed=seed, variant=variant) as point:
            if not point.is_finished:
                point.log("extra_parameters", found)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


# --- passes -----------------------------------------------------------------------------------------------------------


def log_shape(lab: RunContext, served: Served, seed: int, shape: str, repeats: int) -> None:
    batch, length = sizes(shape)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, served.base.config.vocab_size, (batch, length), generator=generator)
    tokens = tokens.to(served.base.device)
    passes = make_passes(served, batch)
    medians = time_in_turns({name: partial(run_model, tokens) for name, run_model in passes.items()}, repeats)
    difference = relative_difference(passes["mixed"](tokens), passes["separate"](tokens)) if batch > 1 else None
    # The base last: with it, the shape is finished.
    for variant in reversed(passes):
        with lab.point(seed=seed, shape=shape, variant=variant) as point:
            if point.is_finished:
                continue
            point.log("latency", 1000 * medians[variant])
            point.log("latency_ratio", medians[variant] / medians["base"])
            if variant in ("mixed", "separate"):
                point.log("adapter_ratio", medians[variant] / medians["adapter"])
            if variant == "mixed" and difference is not None:
                point.log("mixed_difference", difference)


def make_passes(served: Served, batch: int) -> dict[str, Pass]:
    """What is timed; a batch of one row cannot be mixed."""
    passes: dict[str, Pass] = {name: make_pass(getattr(served, name)) for name in ONE_FOR_ALL if name != "adapter"}
    passes["adapter"] = make_pass(served.adapted)
    if batch > 1:
        passes["mixed"] = lambda tokens: mixed(served, tokens)
        passes["separate"] = lambda tokens: separate(served, tokens)
    return passes


def make_pass(model: PreTrainedModel | PeftModel) -> Pass:
    def run_model(tokens: Tensor) -> Tensor:
        logits: Tensor = model(input_ids=tokens, use_cache=False).logits
        return logits

    return run_model


def mixed(served: Served, tokens: Tensor) -> Tensor:
    """Each row with its own adapter, in one pass."""
    names = [served.names[i % len(served.names)] for i in range(len(tokens))]
    logits: Tensor = served.adapted(input_ids=tokens, adapter_names=names, use_cache=False).logits
    return logits


def separate(served: Served, tokens: Tensor) -> Tensor:
    """The same rows, one adapter after the other."""
    rows: dict[int, Tensor] = {}
    for i, name in enumerate(served.names[: len(tokens)]):
        mine = range(i, len(tokens), len(served.names))
        served.adapted.set_adapter(name)
        rows |= zip(mine, served.adapted(input_ids=tokens[list(mine)], use_cache=False).logits, strict=True)
    served.adapted.set_adapter(served.names[0])
    return torch.stack([rows[i] for i in range(len(tokens))])


def relative_difference(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def time_in_turns(actions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each action; they take turns, so that a busy machine slows all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    with torch.no_grad():
        for _ in range(WARMUP_PASSES + repeats):
            for name, action in actions.items():
                seconds[name].append(time_of(action))
    return {name: statistics.median(times[WARMUP_PASSES:]) for name, times in seconds.items()}


def time_of(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


# --- changes of the adapter -------------------------------------------------------------------------------------------


def log_changes(lab: RunContext, served: Served, seed: int, repeats: int) -> None:
    """Switching between loaded adapters, loading one from its file, merging one and taking it out."""
    with lab.point(seed=seed) as point, tempfile.TemporaryDirectory(dir=lab.scratch) as folder:
        if point.is_finished:
            return
        served.adapted.save_pretrained(folder, selected_adapters=[served.names[1]], save_embedding_layers=False)
        medians = time_changes(served, Path(folder) / served.names[1], repeats)
        for name, seconds in medians.items():
            point.log(name, 1000 * seconds)


def time_changes(served: Served, saved: Path, repeats: int) -> dict[str, float]:
    """Median seconds of each change; what a change needs undone is undone between them, untimed."""
    adapted, (first, second) = served.adapted, served.names[:2]
    seconds: dict[str, list[float]] = {f"{name}_time": [] for name in ("switch", "load", "merge", "unmerge")}
    own = with_own_weights(served)
    for _ in range(repeats):
        seconds["switch_time"].append(time_of(lambda: adapted.set_adapter(second)))
        adapted.set_adapter(first)
        seconds["load_time"].append(time_of(lambda: adapted.load_adapter(str(saved), "loaded")))
        adapted.delete_adapter("loaded")
        seconds["merge_time"].append(time_of(own.merge_adapter))
        seconds["unmerge_time"].append(time_of(own.unmerge_adapter))
    return {name: statistics.median(times) for name, times in seconds.items()}


def with_own_weights(served: Served) -> PeftModel:
    """A copy of the adapted model that may be merged: the others share their weights."""
    return copy.deepcopy(served.adapted)
