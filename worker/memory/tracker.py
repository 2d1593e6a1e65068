"""Births and deaths of storages in a training step, fake or real: the same class follows both.

A mode sees every operator that the dispatcher runs; a weak reference to a storage tells when nothing holds it any
more. Memory that a kernel takes and gives back inside itself does not show, with one exception: where a library hides
operators in one of its own (bitsandbytes' 4-bit product), `OPENED` runs what is inside, so that it is seen.
"""

import re
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from worker.memory.events import LOSS, OUTSIDE, Allocation, Category, Event, Phase, Record

BLOCK = re.compile(r"(?:^|\.)(?:layers|h)\.(\d+)(?:\.|$)")

Place = tuple[int, int, str]  # block, part, module (worker.memory.events.Allocation)
NOWHERE: Place = (OUTSIDE, 0, "")
IN_LOSS: Place = (OUTSIDE, 0, LOSS)

# What an operator of a library does inside: operator → function with the same arguments.
OPENED: dict[Any, Callable[..., Any]] = {}


def place_of(name: str, layers_a_block: int = 1) -> Place:
    """Where a module stands, from its name in the model."""
    found = BLOCK.search(name)
    if not found:
        return OUTSIDE, 0, name
    layer = int(found[1])
    return layer // layers_a_block, layer % layers_a_block, name[found.end() :]


class StorageTracker(TorchDispatchMode):
    """Within the block, writes every storage's birth and death into `record`."""

    def __init__(self, model: nn.Module, output_layer: nn.Module | None = None, layers_a_block: int = 1) -> None:
        super().__init__()
        self.record = Record(layers_a_block=layers_a_block)
        self.phase: Phase = "setup"
        self._output_layer = output_layer  # from which on a forward pass computes the loss
        self._live: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._places = {module: place_of(name, layers_a_block) for name, module in model.named_modules()}
        if output_layer is not None:
            self._places[output_layer] = IN_LOSS
        self._stack: list[Place] = []
        self._place: Place = NOWHERE
        # Which module made the autograd nodes from a sequence number on.
        self._node_numbers: list[int] = [-1]
        self._node_places: list[Place] = [NOWHERE]
        self._is_recomputing = False
        self._hooks: list[Any] = []
        self._is_closed = False

    # --- the mode -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._hooks = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
        ]
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*error)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        opened = OPENED.get(func)
        if opened:
            with self:
                return opened(*args, **(kwargs or {}))
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self._see(out, func, args)
        elif isinstance(out, list | tuple):
            for i, part in enumerate(out):
                if isinstance(part, Tensor):
                    self._see(part, func, args, i)
        return out

    # --- what the training step tells ---------------------------------------------------------------------------------

    @contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """Names the phase of a `with` block."""
        before, self.phase = self.phase, phase
        self._place = NOWHERE
        if phase == "forward":
            self.record.pass_ends.append(-1)
        try:
            yield
        finally:
            if phase == "forward":
                self.record.pass_ends[-1] = len(self.record.events)
            self._end_recomputation()
            self.phase = before

    def begin_step(self) -> None:
        self.record.steps.append(len(self.record.events))

    def close(self) -> Record:
        """The end of the last step: what dies from now on is not written down."""
        self.begin_step()
        self._is_closed = True
        self.record.blocks = 1 + max(allocation.block for allocation in self.record.allocations)
        return self.record

    def add(self, tensors: Iterable[tuple[str, Tensor, Category]]) -> None:
        """Storages that are there from the beginning: name of the module, tensor, category."""
        for name, tensor, category in tensors:
            block, part, module = place_of(name, self.record.layers_a_block)
            self._place = (block, part, module)
            self._see(tensor, None, ())
            self.mark(tensor, category)
        self._place = NOWHERE

    def mark(self, tensor: Tensor, category: Category | None) -> None:
        """Say what a storage is."""
        known = self._live.get(tensor.untyped_storage()._cdata)
        if known:
            self.record.allocations[known[1]].category = category

    def to_host(self, tensor: Tensor) -> None:
        """A storage that is not on the device."""
        known = self._live.get(tensor.untyped_storage()._cdata)
        if known:
            self.record.allocations[known[1]].is_on_host = True

    # --- births and deaths --------------------------------------------------------------------------------------------

    def _see(self, tensor: Tensor, func: Any, args: Sequence[Any], index: int = -1) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live:
            return
        size = storage.nbytes()
        if not size:
            return
        number = len(self.record.allocations)
        block, part, module = self._where(args, index)
        self.record.allocations.append(
            Allocation(
                size=size,
                born=len(self.record.events),
                phase=self.phase,
                op=str(func.__name__).split(".")[0] if func else "",
                block=block,
                part=part,
                module=module,
                forward_pass=self._forward_pass(),
            )
        )
        self.record.events.append(Event(number, True, block))
        self._live[key] = weakref.ref(storage, lambda _ref: self._die(key, number)), number

    def _die(self, key: int, number: int) -> None:
        known = self._live.get(key)
        if self._is_closed or not known or known[1] != number:
            return
        del self._live[key]
        allocation = self.record.allocations[number]
        allocation.died = len(self.record.events)
        # An optimizer that works on lists gives back what it made block by block, as it made it.
        is_in_list = self.phase in ("clip", "optimizer") and self._place == NOWHERE
        self.record.events.append(Event(number, False, allocation.block if is_in_list else self._place[0]))

    def _where(self, args: Sequence[Any], index: int) -> Place:
        if self.phase == "backward":
            self._follow_backward()
        elif self.phase in ("clip", "optimizer"):
            return self._place_of_argument(args, index)
        return self._place

    def _place_of_argument(self, args: Sequence[Any], index: int) -> Place:
        """Optimizers work on parameters, one by one or in lists: what they make belongs where its parameter does.

        What they make of nothing, a counter, comes just before what they make of the next parameter.
        """
        for arg in args:
            tensor = arg[index] if isinstance(arg, list | tuple) and 0 <= index < len(arg) else arg
            if isinstance(tensor, Tensor):
                known = self._live.get(tensor.untyped_storage()._cdata)
                if known:
                    owner = self.record.allocations[known[1]]
                    place = owner.block, owner.part, owner.module
                    self._place = NOWHERE if index >= 0 else place
                    return place
            elif isinstance(tensor, list | tuple) and tensor and isinstance(tensor[0], Tensor):
                self._place = NOWHERE  # one tensor of many
        return self._place

    # --- modules ------------------------------------------------------------------------------------------------------

    def _enter_module(self, module: nn.Module, _args: Any) -> None:
        if module is self._output_layer and self.phase == "forward":
            self.phase = "loss"
        if self.phase == "backward":
            self._follow_backward()
        place = self._places.get(module)
        self._stack.append(self._place)
        if place is not None:
            self._move(place)

    def _leave_module(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        self._move(self._stack.pop())

    def begin_loss(self) -> None:
        """What the forward pass computes from here on is the loss."""
        self.phase = "loss"
        self._move(IN_LOSS)

    def _move(self, place: Place) -> None:
        self._place = IN_LOSS if self.phase == "loss" else place
        self._node_numbers.append(torch._C._autograd._get_sequence_nr())
        self._node_places.append(self._place)

    # --- the backward pass --------------------------------------------------------------------------------------------

    def _follow_backward(self) -> None:
        """The place of the node at work: that of the module whose forward pass made it."""
        if torch.is_grad_enabled() != self._is_recomputing:
            if self._is_recomputing:
                self._end_recomputation()
            else:
                self._is_recomputing = True
                self.record.pass_ends.append(-1)
        if self._stack:
            return  # modules run again under gradient checkpointing
        node: Any = torch._C._current_autograd_node()
        number = -1 if node is None else node._sequence_nr()
        # Gradients are added up between nodes, and at leaves, whose number is the largest there is.
        if 0 <= number < 2**60:
            self._place = self._node_places[bisect_right(self._node_numbers, number) - 1]

    def _end_recomputation(self) -> None:
        if self._is_recomputing:
            self._is_recomputing = False
            self.record.pass_ends[-1] = len(self.record.events)

    def _forward_pass(self) -> int:
        is_forward = self.phase == "forward" or self._is_recomputing
        return len(self.record.pass_ends) - 1 if is_forward else -1
