"""From a record of a few blocks to that of many: blocks repeat, and so do their births and deaths.

A record is a course through the blocks: up in the forward pass, down in the backward pass, up again in clipping and in
the optimizer. Every crossing from one end to the other passes the middle block once. What happens there is repeated for
each block in between, and everything that comes before the other end is shifted along.

Nothing is taken on trust: the record of a few blocks, extended by one, has to be the record of that many blocks, event
by event and byte by byte. A storage outside the blocks may grow with their number: the list of norms that clipping
makes has so many bytes for each trained tensor. For any other, a record of one block less has to confirm that it grows
evenly.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from worker.memory.events import OUTSIDE, Allocation, Event, Phase, Record

Zone = Literal["bottom", "up", "top", "down"]
# Block, step, phase, and number among the storages that the block made then: the first block makes fewer than others in
# the backward pass, and still its tenth storage of the next forward pass is like theirs.
Key = tuple[int, int, Phase, int]
Growth = dict[int, int]  # number of a storage outside the blocks → bytes that it grows by with each block


class NotRepeating(ValueError):
    """The blocks of this model do not repeat as assumed: each has to be simulated."""


@dataclass(frozen=True, slots=True)
class Item:
    """An event without its place in a list: whose storage, born or dead, and while which block was at work."""

    at: int
    key: Key
    is_birth: bool
    block: int


def growth(few: Record, more: Record) -> Growth:
    """By how much storages outside the blocks grow with each block; NotRepeating where anything else differs."""
    extended = extend(few, more.blocks, {})
    if extended.steps != more.steps or len(extended.events) != len(more.events):
        raise NotRepeating(f"{len(extended.events)} events instead of {len(more.events)}")
    for i, (ours, theirs) in enumerate(zip(extended.events, more.events, strict=True)):
        if ours != theirs:
            raise NotRepeating(f"event {i} is {ours} instead of {theirs}")
    grown: Growth = {}
    outside = 0
    for made, real in zip(extended.allocations, more.allocations, strict=True):
        if traits(made, extended) != traits(real, more):
            raise NotRepeating(f"a storage is {made} instead of {real}")
        if made.size != real.size:
            if made.block != OUTSIDE:
                raise NotRepeating(f"a storage of block {made.block} has {made.size} bytes instead of {real.size}")
            grown[outside] = (real.size - made.size) // (more.blocks - few.blocks)
        outside += made.block == OUTSIDE
    return grown


def is_by_tensor(few: Record, more: Record, grown: Growth) -> bool:
    """Whether what grows has the same bytes for each trained tensor, and so grows as the blocks do."""
    before, after = (outside_sizes(record) for record in (few, more))
    return all(before[i] * more.trained == after[i] * few.trained for i in grown)


def outside_sizes(record: Record) -> list[int]:
    return [a.size for a in record.allocations if a.block == OUTSIDE]


def check_growth(fewer: Record, few: Record, grown: Growth) -> None:
    """NotRepeating unless storages outside the blocks are smaller by as much with one block less."""
    before, after = (outside_sizes(record) for record in (fewer, few))
    if len(before) != len(after) or any(
        size - before[i] != grown.get(i, 0) * (few.blocks - fewer.blocks) for i, size in enumerate(after)
    ):
        raise NotRepeating("storages outside the blocks do not grow evenly with their number")


def traits(allocation: Allocation, record: Record) -> tuple[object, ...]:
    """What two storages at the same place of two records have in common besides their size."""
    a = allocation
    return a.block, a.part, a.module, a.op, a.phase, a.is_on_host, record.category(a)


def extend(few: Record, blocks: int, grown: Growth) -> Record:
    """The record of so many blocks."""
    made = _Extension(few, blocks, grown)
    for zone, stretch in _stretches(few):
        for shift in _shifts(zone, blocks - few.blocks):
            for item in stretch:
                made.append(item, shift, is_first=shift == 0 or zone == "top")
    made.finish()
    return made.record


def _shifts(zone: Zone, more: int) -> list[int]:
    """By how many blocks a stretch is moved, once for each time that it happens."""
    upwards = list(range(more + 1))
    return {"bottom": [0], "top": [more], "up": upwards, "down": upwards[::-1]}[zone]


def _stretches(record: Record) -> Iterator[tuple[Zone, list[Item]]]:
    """The record cut where the middle block is entered and left."""
    middle = record.blocks // 2
    zone: Zone = "bottom"
    crossing = 0  # numbers the passages, because two of them may follow each other
    cut: list[tuple[tuple[int, Zone], Item]] = []
    for item in _items(record):
        if item.block != OUTSIDE:
            entered = _next_zone(zone, item.block, middle)
            crossing += entered != zone
            zone = entered
        cut.append(((crossing, zone), item))
    for (_, where), stretch in groupby(cut, key=lambda pair: pair[0]):
        yield where, [item for _, item in stretch]


def _next_zone(zone: Zone, block: int, middle: int) -> Zone:
    """Where a course is after an event of that block: a crossing ends at the other end and not before."""
    if block == middle:
        return {"bottom": "up", "top": "down"}.get(zone, zone)  # type: ignore[return-value]
    if zone == "up":
        return "top" if block > middle else "up"
    if zone == "down":
        return "bottom" if block < middle else "down"
    return "top" if block > middle else "bottom"


def _items(record: Record) -> Iterator[Item]:
    counts: Counter[Key] = Counter()
    keys: list[Key] = []
    for allocation in record.allocations:
        where = (allocation.block, bisect_right(record.steps, allocation.born), allocation.phase, 0)
        keys.append((*where[:3], counts[where]))
        counts[where] += 1
    for at, event in enumerate(record.events):
        yield Item(at, keys[event.allocation], event.is_birth, event.block)


class _Extension:
    """A record in the making."""

    def __init__(self, few: Record, blocks: int, grown: Growth) -> None:
        self.record = Record(blocks=blocks, layers_a_block=few.layers_a_block, trained=few.trained)
        self._few = few
        self._grown = grown
        self._numbers: dict[Key, int] = {}
        self._outside = 0
        self._steps = list(few.steps)

    def append(self, item: Item, shift: int, *, is_first: bool) -> None:
        """An event, moved by so many blocks. What is outside the blocks happens once."""
        record = self.record
        block = item.key[0]
        if block == OUTSIDE and not is_first:
            return
        while self._steps and item.at >= self._steps[0]:
            record.steps.append(len(record.events))
            self._steps.pop(0)
        at_work = item.block if item.block == OUTSIDE else item.block + shift
        key = item.key if block == OUTSIDE else (block + shift, *item.key[1:])
        if item.is_birth:
            index = self._numbers[key] = self._add(self._few.events[item.at].allocation, key[0])
        else:
            index = self._find(key)
            record.allocations[index].died = len(record.events)
        record.events.append(Event(index, item.is_birth, at_work))

    def _add(self, template: int, block: int) -> int:
        original = self._few.allocations[template]
        record = self.record
        more = 0
        if block == OUTSIDE:
            more = self._grown.get(self._outside, 0) * (record.blocks - self._few.blocks)
            self._outside += 1
        record.allocations.append(
            replace(
                original,
                size=original.size + more,
                born=len(record.events),
                died=-1,
                block=block,
                category=self._few.category(original),
                forward_pass=-1,
            )
        )
        return len(record.allocations) - 1

    def _find(self, key: Key) -> int:
        index = self._numbers.get(key)
        if index is None or self.record.allocations[index].died != -1:
            raise NotRepeating(f"storage {key} dies without living")
        return index

    def finish(self) -> None:
        self.record.steps += [len(self.record.events)] * len(self._steps)
