"""Read the pickle of a torch file without ever running what it asks for.

A pickle names functions to call. Here a name outside a short list is refused, and the names of the
list stand for values of our own: torch is not imported, and no code of the file's choice runs.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

from graphmerge.errors import CheckpointError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.spec import BY_TORCH_NAME, DType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_COMMAND = (
    "convert it with torch: python -c 'import torch, safetensors.torch as s; "
    'd = torch.load("FILE", map_location="cpu", weights_only={}); d = d.get("state_dict", d); '
    "d = {{k: v.clone().contiguous() for k, v in d.items() if torch.is_tensor(v)}}; "
    's.save_file(d, "model.safetensors")\''
)
CONVERT = f"if you trust the file, {_COMMAND.format('True')}"
"""What to do about a torch file that cannot be read as it is."""
_RUN = f"only if you trust who made it, as its code is run: {_COMMAND.format('False')}"
"""What to do about one that asks for more than torch gives without running code."""

_STORAGES = {
    "DoubleStorage": DType.F64,
    "FloatStorage": DType.F32,
    "HalfStorage": DType.F16,
    "BFloat16Storage": DType.BF16,
    "LongStorage": DType.I64,
    "IntStorage": DType.I32,
    "ShortStorage": DType.I16,
    "CharStorage": DType.I8,
    "ByteStorage": DType.U8,
    "BoolStorage": DType.BOOL,
    "ComplexFloatStorage": DType.C64,
    "UntypedStorage": DType.U8,
}


@frozen
class PickledStorage:
    """A record of the zip that tensors are cut from."""

    key: str
    """Name of the record under `data/`."""
    dtype: DType
    """Dtype of its elements; U8 where it is untyped."""


@frozen(eq=False)
class PickledTensor:
    """One tensor as the pickle describes it; nothing of it is checked yet."""

    storage: Any
    """A `PickledStorage`, if the pickle is sound."""
    start: Any
    """Its first element in the storage, counted in elements."""
    shape: Any
    """Lengths of the axes."""
    strides: Any
    """Steps of the axes, in elements."""
    dtype: DType | None = None
    """Its dtype where the storage is untyped."""


class Entries(dict[Any, Any]):
    """A dict of the pickle; attributes that it had, such as `_metadata`, are dropped."""

    def __setstate__(self, state: object) -> None:
        """Drop what a state dict has beside its entries."""


class _Named:
    """What a name of the list stands for: called by the pickle, and changed by nothing in it."""

    __slots__ = ("_make",)
    _make: Callable[..., object]

    def __init__(self, make: Callable[..., object]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: object) -> object:
        return self._make(*args)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"the pickle sets {name!a} of a function")


def _tensor(storage: Any, start: Any, shape: Any, strides: Any, *_: object) -> PickledTensor:
    return PickledTensor(storage, start, shape, strides)


def _typed_tensor(
    storage: Any, start: Any, shape: Any, strides: Any, _: Any, __: Any, dtype: Any, *___: object
) -> PickledTensor:
    if not isinstance(dtype, DType):
        raise pickle.UnpicklingError("a tensor without a dtype")
    return PickledTensor(storage, start, shape, strides, dtype)


def _first(value: object, *_: object) -> object:
    return value


def _nothing(*_: object) -> None:
    return None


_ALLOWED: Mapping[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): Entries,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch", "Size"): tuple,
    ("torch", "device"): _nothing,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}


class _Unpickler(pickle._Unpickler):  # the one in C allots memory for any memo index
    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(data))
        self._path = path

    def find_class(self, module: str, name: str, /) -> Any:
        """What a name stands for; a CheckpointError for every name that is not on the list."""
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and name in BY_TORCH_NAME:
            return BY_TORCH_NAME[name]
        make = _ALLOWED.get((module, name))
        if make is None:
            what = f"the file asks for {module}.{name}, which graphmerge does not run"
            wanted = "tensors, numbers, texts, lists and dicts"
            raise CheckpointError(Problem(what, str(self._path), wanted=wanted, hint=_RUN))
        return _Named(make)

    def persistent_load(self, pid: Any) -> PickledStorage:
        """The storage that a persistent id means."""
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, DType) or not isinstance(key, str):
            raise pickle.UnpicklingError("a persistent id that is no storage")
        return PickledStorage(key, dtype)


def load_pickle(data: bytes, path: Path) -> object:
    """The object that a torch file's pickle describes, tensors as `PickledTensor`.

    Raises:
        CheckpointError: the pickle is corrupt, or asks for anything but tensors and plain values.
    """
    try:
        return _Unpickler(data, path).load()
    except CheckpointError:
        raise
    except Exception as error:  # a corrupt pickle fails in many ways
        got = f"{type(error).__name__}: {error}"
        raise CheckpointError(Problem("invalid pickle", str(path), got)) from error
