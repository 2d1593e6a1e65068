"""How many bytes of tensors are alive at once: what a CPU has instead of a GPU's counter of allocated memory."""

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary


class PeakMemory(TorchDispatchMode):
    """Within the block, counts the storage of every tensor that an operator gives, until nothing holds it any more.

    `tensors` are there from the beginning (a model's parameters and buffers). Storage that tensors share counts once.
    What a kernel needs inside itself, and the allocator's rounding, do not count.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self.bytes = 0
        self.peak = 0
        self._known = WeakIdKeyDictionary()
        for tensor in tensors:
            self._count(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return tree_map_only(Tensor, self._count, func(*args, **(kwargs or {})))

    def _count(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage not in self._known:
            self._known[storage] = True
            self.bytes += storage.nbytes()
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self._release, storage.nbytes()).atexit = False
        return tensor

    def _release(self, size: int) -> None:
        self.bytes -= size
