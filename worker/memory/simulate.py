"""How much memory a recipe takes: a training step on fake tensors, and what follows from its record."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from labs.memory.context import CONTEXT, CONTEXT_SOURCE
from labs.memory.recipe import Recipe
from worker.memory.account import Bytes, Moment, TimelinePoint, account
from worker.memory.allocator import replay
from worker.memory.events import Record
from worker.memory.extend import NotRepeating, check_growth, extend, growth, is_by_tensor
from worker.memory.fake import fake_tensors
from worker.memory.models import count_parameters, empty, layer_kinds, materialise, meta_model, prepare
from worker.memory.sharding import shard
from worker.memory.step import Trainee, track

Device = Literal["cpu", "cuda"]

# The first product on a GPU makes cuBLAS take two buffers of 4 MiB and eight of 16 KiB from the caching allocator
# (aten/src/ATen/cuda/CublasHandlePool.cpp, getChosenWorkspaceSize; 32 MiB on Hopper).
CUBLAS_WORKSPACE = 2 * 4096 * 1024 + 8 * 16 * 1024
FEW = 3  # blocks that are extended to all


@dataclass(frozen=True)
class Simulation:
    """Bytes of a training step. `allocated_bytes` is `peak_bytes` with the allocator's rounding and cuBLAS' buffers."""

    peak_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    context_bytes: int
    context_source: str
    host_bytes: int
    by_category: Bytes
    by_module: dict[str, int]
    peak_moment: Moment
    steady_bytes: int
    timeline: list[TimelinePoint]
    trainable_parameters: int
    total_parameters: int
    blocks_simulated: int
    exact: bool
    note: str  # why every block was simulated though nobody asked for it
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def simulate(recipe: Recipe, device: Device = "cuda") -> Simulation:
    """Two training steps; the second is what is told."""
    started = time.perf_counter()
    whole = simulate_record(recipe, device)
    record, extra = shard(whole.record, recipe.sharding, recipe.devices)
    course = account(record, {"temporaries": extra})
    workspace = CUBLAS_WORKSPACE if device == "cuda" else 0
    blocks = replay(_stream(record, [extra, workspace]))
    return Simulation(
        peak_bytes=course.peak_bytes,
        allocated_bytes=blocks.allocated,
        reserved_bytes=blocks.reserved,
        context_bytes=CONTEXT if device == "cuda" else 0,
        context_source=CONTEXT_SOURCE if device == "cuda" else "",
        host_bytes=record.host_bytes,
        by_category=course.by_category,
        by_module=course.by_module,
        peak_moment=course.moment,
        steady_bytes=course.steady_bytes,
        timeline=course.timeline,
        trainable_parameters=whole.trainable,
        total_parameters=whole.total,
        blocks_simulated=whole.simulated,
        exact=whole.is_exact,
        note=whole.note,
        seconds=time.perf_counter() - started,
    )


def _stream(record: Record, always: list[int]) -> Iterator[tuple[int, int]]:
    """What the allocator is asked: (storage, bytes) for a birth, (storage, 0) for a death."""
    yield from ((-1 - i, size) for i, size in enumerate(always) if size)
    for event in record.events:
        allocation = record.allocations[event.allocation]
        if not allocation.is_on_host:
            yield event.allocation, allocation.size if event.is_birth else 0


# --- a few blocks, or all ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Simulated:
    """The record of the whole model, and how it came about."""

    record: Record
    trainable: int
    total: int
    simulated: int  # blocks, at most
    is_exact: bool
    note: str = ""


def simulate_record(recipe: Recipe, device: Device = "cuda") -> Simulated:
    """Of few blocks extended to all, or of all where that is asked for or the blocks do not repeat."""
    kinds = layer_kinds(recipe.configuration)
    width = period(kinds)
    blocks = len(kinds) // width
    note = ""
    if not recipe.exact and blocks > FEW + 2:
        try:
            return _extended(recipe, device, width, blocks)
        except NotRepeating as reason:
            note = str(reason)
    few = record_of(recipe, len(kinds), device, width)
    return Simulated(few.record, few.trainable, few.total, blocks, is_exact=True, note=note)


def period(kinds: list[str]) -> int:
    """The number of layers after which their kinds repeat: 1 where all are alike, all of them where nothing repeats."""
    count = len(kinds)
    return next(
        width for width in range(1, count + 1) if count % width == 0 and kinds == kinds[:width] * (count // width)
    )


def _extended(recipe: Recipe, device: Device, width: int, blocks: int) -> Simulated:
    few, more = (record_of(recipe, width * count, device, width) for count in (FEW, FEW + 1))
    grown = growth(few.record, more.record)
    if not is_by_tensor(few.record, more.record, grown):
        check_growth(record_of(recipe, width * (FEW - 1), device, width).record, few.record, grown)
    left = blocks - FEW
    return Simulated(
        extend(few.record, blocks, grown),
        few.trainable + left * (more.trainable - few.trainable),
        few.total + left * (more.total - few.total),
        FEW + 1,
        is_exact=False,
    )


@dataclass(frozen=True)
class Part:
    """The record of a model with some of its layers."""

    record: Record
    trainable: int
    total: int


def record_of(recipe: Recipe, layers: int, device: Device = "cuda", layers_a_block: int = 1) -> Part:
    """Simulate the model with so many of its layers."""
    on_cuda = device == "cuda"
    model = meta_model(recipe, layers, on_cuda=on_cuda)
    attached = prepare(model, recipe)
    trainable, total = count_parameters(model)
    with fake_tensors(on_cuda=on_cuda):
        materialise(model, empty)
        record = track(Trainee(model, attached, recipe, on_cuda), layers_a_block)
    return Part(record, trainable, total)
