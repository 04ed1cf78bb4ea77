"""Read a header that is in order as a whole, column by column instead of tensor by tensor.

Most headers are in order, and those of the fine-tunes of one model are mostly the same bytes: what
is found out about one header serves for all others that are equal to it.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from graphmerge.frozen_classes import frozen
from graphmerge.spec import DType, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

MAX_AXES = 64
"""The limit of torch and numpy."""
MAX_LENGTH = 2**63 - 1
"""The longest axis, and the largest offset, that torch, numpy and files can have."""
DTYPES = {dtype.value: dtype for dtype in DType}
"""Dtypes by their names in headers."""
_KNOWN_SPECS = 4096
"""Specs that are remembered, so that equal ones are one object."""


@frozen(eq=False)
class Columns:
    """The tensors of a header, in its order."""

    names: tuple[str, ...]
    """Their names."""
    specs: tuple[TensorSpec, ...]
    """Their shapes and dtypes."""
    begins: tuple[int, ...]
    """Their first bytes, counted from the start of the data section."""
    metadata: Mapping[str, Any]
    """The file's `__metadata__`; empty if it has none."""


_read: WeakValueDictionary[tuple[bytes, int], Columns] = WeakValueDictionary()
"""The headers of checkpoints that are in use, by digest and size of the data section."""


def read_columns(data: bytes, data_bytes: int) -> Columns | None:
    """The tensors of a header; None if anything about it is out of the ordinary.

    Args:
        data: Its JSON text.
        data_bytes: Size of the data section.
    """
    key = (hashlib.sha256(data).digest(), data_bytes)
    columns = _read.get(key)
    if columns is None:
        columns = _parsed(data, data_bytes)
        if columns is not None:
            _read[key] = columns
    return columns


def _parsed(data: bytes, data_bytes: int) -> Columns | None:
    try:
        content = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not _is_each_given_once(content, data):
        return None
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or set(map(type, metadata.values())) - {str}:
        return None
    try:
        dtypes = [entry["dtype"] for entry in content.values()]
        shapes = [entry["shape"] for entry in content.values()]
        ranges = [entry["data_offsets"] for entry in content.values()]
    except (TypeError, KeyError):
        return None
    specs = _specs(dtypes, shapes)
    if specs is None or not _are_lists_of_sizes(ranges) or set(map(len, ranges)) - {2}:
        return None
    begins, ends = np.array(ranges, np.int64).reshape(-1, 2).T
    if not _fills(begins, ends, [spec.nbytes for spec in specs], data_bytes):
        return None
    return Columns(tuple(content), specs, tuple(begins.tolist()), metadata)


def _is_each_given_once(content: dict[str, Any], data: bytes) -> bool:
    """Whether no name can be there twice; true as well only if no name has a colon or an escape.

    There is a colon for every name that is given. If there are no more of them than names that were
    kept, all were kept.
    """
    inner = sum(len(value) for value in content.values() if isinstance(value, dict))
    return data.count(b":") == len(content) + inner and b"\\" not in data


def _specs(dtypes: Sequence[Any], shapes: Sequence[Any]) -> tuple[TensorSpec, ...] | None:
    """The specs of all tensors; None if one of them is wrong."""
    if set(map(type, dtypes)) - {str} or set(dtypes) - DTYPES.keys():
        return None
    if not _are_lists_of_sizes(shapes) or max(map(len, shapes), default=0) > MAX_AXES:
        return None
    kinds = list(zip(dtypes, map(tuple, shapes), strict=True))
    known = {kind: _spec(*kind) for kind in set(kinds)}
    if any(spec.nbytes > MAX_LENGTH for spec in known.values()):
        return None
    return tuple(map(known.__getitem__, kinds))


@lru_cache(maxsize=_KNOWN_SPECS)
def _spec(dtype: str, shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(shape, DTYPES[dtype])


def _are_lists_of_sizes(values: Sequence[Any]) -> bool:
    """Whether all of them are lists, and all that is in these whole numbers from 0 on."""
    if set(map(type, values)) - {list}:
        return False
    numbers = list(chain.from_iterable(values))
    if set(map(type, numbers)) - {int}:  # true is an int, but not of this type
        return False
    return not numbers or (min(numbers) >= 0 and max(numbers) <= MAX_LENGTH)


def _fills(
    begins: NDArray[np.int64], ends: NDArray[np.int64], sizes: list[int], data_bytes: int
) -> bool:
    """Whether the ranges are as large as the tensors, and fill the data without gap or overlap."""
    if not np.array_equal(ends - begins, np.array(sizes, np.int64)):
        return False
    order = np.lexsort((ends, begins))
    borders = np.concatenate(([0], ends[order]))
    return np.array_equal(begins[order], borders[:-1]) and int(borders[-1]) == data_bytes
