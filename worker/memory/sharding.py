"""What is left on one of several devices, by arithmetic: ZeRO and FSDP divide what a step of one device keeps.

Optimizer states are divided in all three stages, with what the update needs besides; gradients from the second stage
on; parameters in the third (FSDP's full shard). What is gathered or not yet given away counts once for the largest
block: its parameters in the third stage, its gradients from the second on. DDP divides nothing, and its buckets hold
the gradients once more (torch.nn.parallel.DistributedDataParallel, gradient_as_bucket_view=False).
"""

from collections import Counter
from dataclasses import replace

from labs.memory.recipe import Sharding
from worker.memory.events import OUTSIDE, Category, Record

STAGES: dict[Sharding, int] = {"none": 0, "ddp": 0, "zero-1": 1, "zero-2": 2, "zero-3": 3}
DIVIDED: dict[Category, int] = {  # from which stage on
    "optimizer_states": 1,
    "gradients": 2,
    "parameters": 3,
    "quantised_parameters": 3,
}


def shard(record: Record, sharding: Sharding, devices: int) -> tuple[Record, int]:
    """The record of one of the devices, and the bytes that are always there besides."""
    if sharding == "none":
        return record, 0
    stage = STAGES[sharding]
    categories = [record.category(allocation) for allocation in record.allocations]
    extra = _total(record, categories, ("gradients",)) if sharding == "ddp" else 0
    extra += _largest_block(record, categories, ("parameters", "quantised_parameters")) if stage >= 3 else 0
    extra += _largest_block(record, categories, ("gradients",)) if stage >= 2 else 0
    sharded = [
        replace(a, size=-(-a.size // devices)) if _is_divided(category, a.phase, stage) else a
        for a, category in zip(record.allocations, categories, strict=True)
    ]
    return replace(record, allocations=sharded), extra


def _is_divided(category: Category, phase: str, stage: int) -> bool:
    if category == "temporaries" and phase == "optimizer":
        return stage >= 1
    return 0 < DIVIDED.get(category, 0) <= stage


def _total(record: Record, categories: list[Category], wanted: tuple[Category, ...]) -> int:
    """Of the last step, or kept for good."""
    begin = record.steps[-2]
    return sum(
        a.size
        for a, category in zip(record.allocations, categories, strict=True)
        if category in wanted and (a.died == -1 or a.died >= begin)
    )


def _largest_block(record: Record, categories: list[Category], wanted: tuple[Category, ...]) -> int:
    begin = record.steps[-2]
    sizes: Counter[int] = Counter()
    for a, category in zip(record.allocations, categories, strict=True):
        if category in wanted and a.block != OUTSIDE and (a.died == -1 or a.died >= begin):
            sizes[a.block] += a.size
    return max(sizes.values(), default=0) // record.layers_a_block
