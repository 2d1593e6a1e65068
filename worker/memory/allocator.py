"""PyTorch's caching allocator for CUDA as a pure function: from births and deaths to allocated and reserved bytes.

The rules are those of c10/cuda/CUDACachingAllocator.cpp with default settings (no expandable segments, no maximal
split size, no rounding to powers of two), on one stream and a device that never runs out:

- a request is rounded up to a multiple of 512 bytes;
- up to 1 MiB it comes from the pool of small blocks, else from that of large ones;
- the smallest free block of the pool that is large enough is taken (the lowest address among equals);
- without one, a segment is reserved: 2 MiB for small requests, 20 MiB for those below 10 MiB, and for larger ones their
  own size rounded up to 2 MiB;
- what a block has too much is split off: from 512 bytes on in the small pool, above 1 MiB in the large one;
- a freed block is merged with free neighbours in its segment. Segments are never given back.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass

KIB, MIB = 1024, 1024**2
ROUNDING = 512
SMALL_REQUEST = MIB
SMALL_SEGMENT = 2 * MIB
LARGE_SEGMENT = 20 * MIB
HUGE_REQUEST = 10 * MIB
HUGE_ROUNDING = 2 * MIB


@dataclass(frozen=True)
class Reserved:
    """Largest values over time, in bytes: what torch.cuda.max_memory_allocated and max_memory_reserved say."""

    allocated: int
    reserved: int


@dataclass(slots=True, eq=False)
class Block:
    """A piece of a segment; `before` and `after` are its neighbours there."""

    address: int
    size: int
    is_small: bool
    is_free: bool = False
    before: "Block | None" = None
    after: "Block | None" = None


class CachingAllocator:
    """Takes requests and gives blocks back; counts what is allocated and reserved."""

    def __init__(self) -> None:
        self.allocated = self.reserved = self.max_allocated = 0
        self._next_address = 0
        self._free: dict[bool, list[tuple[int, int]]] = {True: [], False: []}  # pool → (size, address), ascending
        self._blocks: dict[int, Block] = {}  # free ones, by address

    def malloc(self, size: int) -> Block:
        rounded = round_size(size)
        is_small = rounded <= SMALL_REQUEST
        block = self._find(rounded, is_small) or self._reserve(rounded, is_small)
        self._split(block, rounded)
        self.allocated += block.size
        self.max_allocated = max(self.max_allocated, self.allocated)
        return block

    def free(self, block: Block) -> None:
        self.allocated -= block.size
        for neighbour in (block.before, block.after):
            if neighbour and neighbour.is_free:
                self._take(neighbour)
                _merge(block, neighbour)
        self._put(block)

    def _find(self, size: int, is_small: bool) -> Block | None:
        pool = self._free[is_small]
        i = bisect_left(pool, (size, -1))
        if i == len(pool):
            return None
        block = self._blocks[pool[i][1]]
        self._take(block)
        return block

    def _reserve(self, size: int, is_small: bool) -> Block:
        segment = segment_size(size)
        block = Block(self._next_address, segment, is_small)
        self._next_address += segment
        self.reserved += segment
        return block

    def _split(self, block: Block, size: int) -> None:
        left = block.size - size
        if left < ROUNDING or (not block.is_small and left <= SMALL_REQUEST):
            return
        rest = Block(block.address + size, left, block.is_small, before=block, after=block.after)
        if block.after:
            block.after.before = rest
        block.after = rest
        block.size = size
        self._put(rest)

    def _put(self, block: Block) -> None:
        block.is_free = True
        self._blocks[block.address] = block
        insort(self._free[block.is_small], (block.size, block.address))

    def _take(self, block: Block) -> None:
        pool = self._free[block.is_small]
        del pool[bisect_left(pool, (block.size, block.address))]
        del self._blocks[block.address]
        block.is_free = False


def _merge(block: Block, neighbour: Block) -> None:
    """The neighbour becomes part of the block."""
    if neighbour is block.before:
        block.address = neighbour.address
        block.before = neighbour.before
        if block.before:
            block.before.after = block
    else:
        block.after = neighbour.after
        if block.after:
            block.after.before = block
    block.size += neighbour.size


def round_size(size: int) -> int:
    return max(ROUNDING, -(-size // ROUNDING) * ROUNDING)


def segment_size(size: int) -> int:
    """What is asked of the driver for a rounded request."""
    if size <= SMALL_REQUEST:
        return SMALL_SEGMENT
    if size < HUGE_REQUEST:
        return LARGE_SEGMENT
    return -(-size // HUGE_ROUNDING) * HUGE_ROUNDING


def replay(stream: Iterable[tuple[int, int]]) -> Reserved:
    """Run (storage, bytes) pairs through the allocator: above 0 a birth, otherwise a death."""
    allocator = CachingAllocator()
    held: dict[int, Block] = {}
    for storage, size in stream:
        if size > 0:
            held[storage] = allocator.malloc(size)
        else:
            allocator.free(held.pop(storage))
    return Reserved(allocator.max_allocated, allocator.reserved)
