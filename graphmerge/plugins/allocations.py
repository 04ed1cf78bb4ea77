"""Count what torch allocates while a function runs, on tensors with or without data.

Tensors of the device "meta" have a shape and a dtype only.
"""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from graphmerge.plugins.scratch import scratch_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

_META = torch.device("meta")


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Bytes of all storages that come to be within the context, and the most at one time.

    Args of the constructor:
        given: Tensors that were there before, which do not count. If they have no data, then what
            is made beside them and with them has none either.
    """

    def __init__(self, given: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.peak_bytes = 0
        self._live_bytes = 0
        self._given = list(given)
        self._known = {x.untyped_storage()._cdata for x in self._given}
        self._has_data = all(x.device != _META for x in self._given)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Do not let torch wrap this class for its compiler, which would load it."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an op, count the storages of its results and what it takes while it runs."""
        kwargs = kwargs or {}
        if not self._has_data:
            args, kwargs = _without_data(func, args, kwargs)
        result = func(*args, **kwargs)
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self._count(value.untyped_storage())
        scratch = scratch_bytes(func, args, kwargs, result)
        self.peak_bytes = max(self.peak_bytes, self._live_bytes + scratch)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        if not self._has_data and self._live_bytes + size > self.peak_bytes:
            gc.collect()  # torch's Python code for such tensors leaves cycles, which hold some
        self._known.add(key)
        self._live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._live_bytes -= size


def _without_data(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of an op such that its result has no data."""
    accepted = {argument.name for argument in func._schema.arguments}
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    if tensors and all(x.device != _META for x in tensors):
        return args, kwargs  # numbers and tables that the function has at hand, with their data
    if "device" in accepted:
        kwargs = {**kwargs, "device": _META}
    if kwargs.get("generator") is not None:
        kwargs = {**kwargs, "generator": None}
    return tree_map_only(torch.Tensor, _meta, (args, kwargs))  # type: ignore[no-any-return]


def _meta(x: torch.Tensor) -> torch.Tensor:
    if x.device == _META:
        return x
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=_META)
