"""From a record of births and deaths to what is asked: the peak, what it consists of, and the course of a step."""

from collections import Counter
from dataclasses import dataclass

from worker.memory.events import CATEGORIES, Category, Record

POINTS = 400  # of a timeline

Bytes = dict[Category, int]


@dataclass(frozen=True)
class Moment:
    """What was going on at an event."""

    phase: str
    op: str
    module: str


@dataclass(frozen=True)
class TimelinePoint:
    """Bytes alive at a position of the step, 0 to 1."""

    position: float
    phase: str
    bytes: int
    by_category: Bytes


@dataclass(frozen=True)
class Account:
    """Of the last step of a record."""

    peak_bytes: int
    steady_bytes: int  # between steps
    by_category: Bytes  # at the peak
    by_module: dict[str, int]  # at the peak, a line a block
    moment: Moment
    timeline: list[TimelinePoint]


def account(record: Record, always: Bytes | None = None) -> Account:
    """Go through the last step, because the first has no optimizer states yet; `always` is there besides."""
    begin, end = record.steps[-2], record.steps[-1]
    constant: Bytes = dict.fromkeys(CATEGORIES, 0) | (always or {})
    totals = _totals(record, _live_at(record, begin), constant)
    steady = sum(totals.values())
    current = peak = steady
    peak_at = begin
    highest: list[tuple[int, int, Bytes]] = []  # of each part of the timeline
    width = max(1, -(-(end - begin) // POINTS))
    for at in range(begin, end):
        event = record.events[at]
        allocation = record.allocations[event.allocation]
        size = record.device_size(at)
        totals[record.category(allocation)] += size
        current += size
        if current > peak:
            peak, peak_at = current, at
        if (at - begin) % width == 0:
            highest.append((at, current, dict(totals)))
        elif current > highest[-1][1]:
            highest[-1] = (at, current, dict(totals))
    at_peak = _live_at(record, peak_at + 1)
    return Account(
        peak_bytes=peak,
        steady_bytes=steady,
        by_category=_totals(record, at_peak, constant),
        by_module=_by_module(record, at_peak),
        moment=_moment(record, peak_at),
        timeline=[
            TimelinePoint((at - begin) / (end - begin), _phase(record, at), total, by_category)
            for at, total, by_category in highest
        ],
    )


def thinned(timeline: list[TimelinePoint], count: int) -> list[TimelinePoint]:
    """At most so many points, each the highest of its stretch, so that the peak stays."""
    width = -(-len(timeline) // count)
    stretches = (timeline[i : i + width] for i in range(0, len(timeline), width))
    return [max(stretch, key=lambda point: point.bytes) for stretch in stretches]


def _live_at(record: Record, event: int) -> list[int]:
    """The storages on the device that are alive just before an event."""
    return [
        i
        for i, a in enumerate(record.allocations)
        if a.born < event and (a.died == -1 or a.died >= event) and not a.is_on_host
    ]


def _totals(record: Record, live: list[int], constant: Bytes) -> Bytes:
    totals = dict(constant)
    for i in live:
        allocation = record.allocations[i]
        totals[record.category(allocation)] += allocation.size
    return totals


def _by_module(record: Record, live: list[int]) -> dict[str, int]:
    """A line for each layer, and one for each module outside them."""
    found: Counter[str] = Counter()
    for i in live:
        allocation = record.allocations[i]
        place = record.place(allocation)
        found[".".join(place.split(".")[:2]) if place.startswith("layers.") else place or "step"] += allocation.size
    return dict(found)


def _moment(record: Record, at: int) -> Moment:
    allocation = record.allocations[record.events[at].allocation]
    return Moment(_phase(record, at), allocation.op, record.place(allocation))


def _phase(record: Record, at: int) -> str:
    """That of the nearest birth, because a death knows only the storage's own."""
    for i in range(at, -1, -1):
        event = record.events[i]
        if event.is_birth:
            return record.allocations[event.allocation].phase
    return "setup"
