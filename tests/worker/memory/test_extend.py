"""A few blocks extended to many are the same record as all of them simulated, event by event."""

import pytest

from tests.worker.memory.conftest import small_recipe
from worker.memory.account import account
from worker.memory.allocator import replay
from worker.memory.events import Allocation, Event, Record
from worker.memory.extend import NotRepeating, check_growth, extend, growth, is_by_tensor
from worker.memory.simulate import _stream, period, simulate_record

LAYERS = 7


@pytest.mark.slow
@pytest.mark.parametrize(
    "wish",
    [
        {"method": "full"},
        {"weights": "bfloat16"},
        {"weights": "nf4", "checkpointing": "reentrant"},
        {"weights": "nf4", "checkpointing": "non-reentrant", "accumulation": 2},
        {"weights": "bfloat16", "attention": "flash", "loss": "fused", "optimizer": "paged-adamw-8bit"},
        {"method": "full", "autocast": True, "optimizer": "adamw-fused", "loss": "chunked"},
    ],
    ids=str,
)
def test_extending_gives_the_record_of_all_blocks(wish):
    exact, extended = (simulate_record(small_recipe(LAYERS, exact=is_exact, **wish)) for is_exact in (True, False))
    assert not extended.is_exact
    assert extended.simulated < LAYERS
    assert extended.record.events == exact.record.events
    assert account(extended.record) == account(exact.record)
    assert replay(_stream(extended.record, [])) == replay(_stream(exact.record, []))
    assert (extended.trainable, extended.total) == (exact.trainable, exact.total)


@pytest.mark.slow
def test_what_does_not_repeat_is_simulated_whole_and_says_why():
    simulated = simulate_record(small_recipe(LAYERS, method="adalora"))
    assert simulated.is_exact
    assert simulated.simulated == LAYERS
    assert simulated.note


def test_the_period_of_alternating_layers():
    assert period(["full"] * 4) == 1
    assert period(["sliding", "full"] * 3) == 2
    assert period(["sliding", "full", "full"]) == 3


def course(blocks: int, *, list_size: int = 0, odd: int = -1) -> Record:
    """A made-up record: each block keeps 100 bytes on the way up and gives them back on the way down."""
    record = Record(blocks=blocks)

    def birth(size, block):
        record.allocations.append(Allocation(size, len(record.events), "forward", "mm", block))
        record.events.append(Event(len(record.allocations) - 1, True, block))
        return len(record.allocations) - 1

    def death(index, at_work):
        record.allocations[index].died = len(record.events)
        record.events.append(Event(index, False, at_work))

    for _ in range(2):
        record.steps.append(len(record.events))
        outside = birth(7 + list_size * blocks, -1)
        kept = [birth(100 if block != odd else 101, block) for block in range(blocks)]
        for block in reversed(range(blocks)):
            death(kept[block], block)
        death(outside, -1)
    record.steps.append(len(record.events))
    record.pass_ends = [len(record.events)]
    return record


def test_blocks_are_repeated_up_and_down():
    assert growth(course(3), course(4)) == {}
    assert extend(course(3), 9, {}).events == course(9).events


def test_what_grows_outside_the_blocks_grows_on():
    few = course(3, list_size=4)
    grown = growth(few, course(4, list_size=4))
    assert grown == {0: 4, 1: 4}
    check_growth(course(2, list_size=4), few, grown)
    assert [a.size for a in extend(few, 9, grown).allocations] == [a.size for a in course(9, list_size=4).allocations]


def test_a_list_with_so_many_bytes_a_trained_tensor_grows_as_the_blocks_do():
    few, more = course(3, list_size=4), course(4, list_size=4)
    few.trained, more.trained = 19, 23  # a byte each: 7 + 4 × 3 and 7 + 4 × 4
    assert is_by_tensor(few, more, growth(few, more))
    more.trained = 24
    assert not is_by_tensor(few, more, growth(few, more))


def test_growth_that_is_not_even_is_refused():
    few = course(3, list_size=4)
    with pytest.raises(NotRepeating, match="do not grow evenly"):
        check_growth(course(2, list_size=5), few, growth(few, course(4, list_size=4)))


def test_blocks_of_different_sizes_are_refused():
    with pytest.raises(NotRepeating, match="a storage of block 2 has 100 bytes instead of 101"):
        growth(course(3), course(4, odd=2))
