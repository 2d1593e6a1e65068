"""From births and deaths to the peak, its parts, and what is left on one of several devices."""

import pytest

from worker.memory.account import TimelinePoint, account, thinned
from worker.memory.events import Allocation, Event, Record
from worker.memory.sharding import shard

WEIGHTS, STATES, GRADIENT, KEPT, PASSING = 1000, 800, 400, 300, 50


def step_record() -> Record:
    """One block: weights for good; twice a kept activation, a passing one, a gradient and a temporary; states."""
    record = Record(blocks=1)

    def birth(size, phase, category=None, *, in_pass=-1, block=0):
        place = Allocation(size, len(record.events), phase, "mm", block, module="mlp", category=category)
        place.forward_pass = in_pass
        record.allocations.append(place)
        record.events.append(Event(len(record.allocations) - 1, True, block))
        return len(record.allocations) - 1

    def death(index):
        record.allocations[index].died = len(record.events)
        record.events.append(Event(index, False, 0))

    birth(WEIGHTS, "setup", "parameters")
    for step in range(2):
        record.steps.append(len(record.events))
        kept = birth(KEPT, "forward", in_pass=step)
        death(birth(PASSING, "forward", in_pass=step))
        record.pass_ends.append(len(record.events))
        gradient = birth(GRADIENT, "backward", "gradients")
        death(kept)
        if not step:
            birth(STATES, "optimizer", "optimizer_states")
        death(birth(GRADIENT, "optimizer"))
        death(gradient)
    record.steps.append(len(record.events))
    return record


def test_the_peak_is_that_of_the_second_step():
    found = account(step_record())
    assert found.peak_bytes == WEIGHTS + STATES + 2 * GRADIENT
    assert found.steady_bytes == WEIGHTS + STATES
    assert (found.moment.phase, found.moment.module) == ("optimizer", "layers.0.mlp")


def test_categories_and_modules_add_up_to_the_peak():
    found = account(step_record())
    assert found.by_category["temporaries"] == GRADIENT
    assert sum(found.by_category.values()) == sum(found.by_module.values()) == found.peak_bytes


def test_what_outlives_its_forward_pass_is_an_activation():
    record = step_record()
    kinds = {a.size: record.category(a) for a in record.allocations}
    assert kinds[KEPT] == "activations"
    assert kinds[PASSING] == "temporaries"


def test_what_is_on_the_host_does_not_count():
    record = step_record()
    record.allocations[4].is_on_host = True
    assert record.host_bytes == STATES
    assert account(record).peak_bytes == WEIGHTS + 2 * GRADIENT


@pytest.mark.parametrize(
    ("sharding", "peak"),
    [
        ("ddp", WEIGHTS + STATES + 2 * GRADIENT + GRADIENT),
        ("zero-1", WEIGHTS + STATES // 4 + KEPT + GRADIENT),
        ("zero-2", WEIGHTS + STATES // 4 + KEPT + GRADIENT // 4 + GRADIENT),
        ("zero-3", WEIGHTS // 4 + STATES // 4 + KEPT + GRADIENT // 4 + WEIGHTS + GRADIENT),
    ],
)
def test_sharding_divides_what_its_stage_divides(sharding, peak):
    """One block is the whole model here, so that what is gathered is all of it; the peak moves to the backward pass."""
    record, extra = shard(step_record(), sharding, 4)
    assert account(record, {"temporaries": extra}).peak_bytes == peak


def test_thinning_keeps_the_peak():
    timeline = [TimelinePoint(i / 10, "forward", size, {}) for i, size in enumerate([1, 5, 2, 9, 3, 4, 8, 1, 0, 2])]
    assert [point.bytes for point in thinned(timeline, 4)] == [5, 9, 8, 2]
