"""What a tracker writes down: storages that are born and die, in the order in which it happens. No torch in here."""

from dataclasses import dataclass, field
from typing import Literal

Category = Literal[
    "parameters",
    "quantised_parameters",
    "gradients",
    "optimizer_states",
    "activations",
    "logits_and_loss",
    "temporaries",
]
CATEGORIES: tuple[Category, ...] = (
    "parameters",
    "quantised_parameters",
    "gradients",
    "optimizer_states",
    "activations",
    "logits_and_loss",
    "temporaries",
)
Phase = Literal["setup", "forward", "loss", "backward", "clip", "optimizer"]

OUTSIDE = -1  # the block of what belongs to no block: embeddings, the last norm, the output layer


@dataclass(slots=True)
class Allocation:
    """A storage. `born` and `died` number the events; a storage that outlives the record has `died` -1.

    `part` is the layer within a block (blocks of more than one layer are those of models whose layers alternate), and
    `module` the module's name inside that layer, or its full name outside all blocks. `pass_end` is the event at which
    the forward pass that made the storage ended: what dies later was kept for the backward pass.
    """

    size: int
    born: int
    phase: Phase
    op: str
    block: int
    part: int = 0
    module: str = ""
    category: Category | None = None  # where it is known for certain
    forward_pass: int = -1  # number of the forward pass that made it, recomputation included; -1: none
    died: int = -1
    is_on_host: bool = False


@dataclass(slots=True, frozen=True)
class Event:
    """A birth or a death, and the block at work: in the optimizer the one whose parameter is updated."""

    allocation: int
    is_birth: bool
    block: int


@dataclass
class Record:
    """All events from an empty device on; `steps` says at which event each training step begins, and the end."""

    allocations: list[Allocation] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    pass_ends: list[int] = field(default_factory=list)  # event at which each forward pass ended
    blocks: int = 0
    trained: int = 0  # tensors that the optimizer updates
    layers_a_block: int = 1

    def category(self, allocation: Allocation) -> Category:
        """What is known, or what follows from where a storage was made and how long it lived."""
        if allocation.category:
            return allocation.category
        if allocation.phase == "loss" or allocation.module == LOSS:
            return "logits_and_loss"
        if allocation.forward_pass >= 0:
            end = self.pass_ends[allocation.forward_pass]
            if allocation.died == -1 or allocation.died > end:
                return "activations"
        return "temporaries"

    def device_size(self, event: int) -> int:
        """What an event adds to the device's memory."""
        happened = self.events[event]
        allocation = self.allocations[happened.allocation]
        if allocation.is_on_host:
            return 0
        return allocation.size if happened.is_birth else -allocation.size

    @property
    def host_bytes(self) -> int:
        return sum(a.size for a in self.allocations if a.is_on_host and a.died == -1)

    def place(self, allocation: Allocation) -> str:
        """The full name of the module that made a storage."""
        if allocation.block == OUTSIDE:
            return allocation.module
        layer = f"layers.{allocation.block * self.layers_a_block + allocation.part}"
        return f"{layer}.{allocation.module}" if allocation.module else layer


LOSS = "loss"  # the module's name of what the loss computes
