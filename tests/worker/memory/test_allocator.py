"""The rules of PyTorch's caching allocator, one by one."""

import pytest

from worker.memory.allocator import KIB, MIB, CachingAllocator, replay, round_size, segment_size


@pytest.mark.parametrize(
    ("asked", "given"), [(1, 512), (512, 512), (513, 1024), (MIB, MIB), (MIB + 1, MIB + 512), (0, 512)]
)
def test_a_request_is_rounded_up_to_512_bytes(asked, given):
    assert round_size(asked) == given


@pytest.mark.parametrize(
    ("request_size", "segment"),
    [
        (512, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 512, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (11 * MIB, 12 * MIB),
        (100 * MIB + 512, 102 * MIB),
    ],
)
def test_segments_have_the_sizes_of_their_pool(request_size, segment):
    assert segment_size(request_size) == segment


def test_small_requests_share_a_segment():
    allocator = CachingAllocator()
    for _ in range(4):
        allocator.malloc(512 * KIB)
    assert (allocator.allocated, allocator.reserved) == (2 * MIB, 2 * MIB)
    allocator.malloc(1)
    assert (allocator.allocated, allocator.reserved) == (2 * MIB + 512, 4 * MIB)


def test_small_and_large_pools_do_not_share():
    allocator = CachingAllocator()
    allocator.free(allocator.malloc(5 * MIB))
    allocator.malloc(512)
    assert allocator.reserved == 22 * MIB


def test_the_smallest_block_that_fits_is_taken():
    allocator = CachingAllocator()
    large, small = allocator.malloc(60 * MIB), allocator.malloc(40 * MIB)
    allocator.free(large)
    allocator.free(small)
    assert allocator.malloc(39 * MIB + 512 * KIB).address == small.address
    assert allocator.reserved == 100 * MIB


def test_a_large_block_is_split_only_when_more_than_a_mebibyte_is_left():
    allocator = CachingAllocator()
    allocator.free(allocator.malloc(40 * MIB))
    whole = allocator.malloc(39 * MIB)
    assert (whole.size, allocator.allocated) == (40 * MIB, 40 * MIB)
    allocator.free(whole)
    part = allocator.malloc(39 * MIB - 512)
    assert (part.size, allocator.allocated) == (39 * MIB - 512, 39 * MIB - 512)


def test_a_small_block_is_split_down_to_512_bytes():
    allocator = CachingAllocator()
    first = allocator.malloc(MIB - 512)
    second = allocator.malloc(MIB)
    assert second.address == first.address + MIB - 512
    assert allocator.malloc(512).address == first.address + 2 * MIB - 512
    assert allocator.reserved == 2 * MIB


def test_freed_neighbours_become_one_block_again():
    allocator = CachingAllocator()
    blocks = [allocator.malloc(5 * MIB) for _ in range(4)]
    assert allocator.reserved == 20 * MIB
    for i in (0, 2, 1, 3):
        allocator.free(blocks[i])
    assert allocator.malloc(20 * MIB).address == 0
    assert allocator.reserved == 20 * MIB


def test_neighbours_in_another_segment_are_not_merged():
    allocator = CachingAllocator()
    for block in [allocator.malloc(10 * MIB), allocator.malloc(10 * MIB)]:
        allocator.free(block)
    allocator.malloc(20 * MIB)
    assert allocator.reserved == 40 * MIB


def test_fragmentation_reserves_more_than_was_ever_allocated():
    """Every second block of 10 MiB is freed; 20 MiB at once do not fit in between."""
    stream = [(i, 10 * MIB) for i in range(6)] + [(i, 0) for i in range(0, 6, 2)] + [(6, 20 * MIB)]
    assert replay(stream).allocated == 60 * MIB
    assert replay(stream).reserved == 80 * MIB


def test_memory_that_comes_and_goes_is_reserved_once():
    stream = [event for i in range(100) for event in ((i, 30 * MIB), (i, 0))]
    assert replay(stream).reserved == 30 * MIB
