"""What single torch ops allocate beside their results, and free before they return.

Measured with torch 2.13 on a CPU, see tests/plugins/test_traced_memory.py. Ops that are not here
were seen to take nothing, or were not looked at.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    Arguments = dict[str, Any]

_INDEX_BYTES = 8


def scratch_bytes(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    """Bytes that a call of an op takes while it runs.

    Args:
        func: The op, as torch dispatches it.
        args: Its positional arguments.
        kwargs: Its other arguments.
        result: What it returned.
    """
    tensors = [value for value in tree_leaves(args) if isinstance(value, torch.Tensor)]
    if not tensors:
        return 0
    if torch.Tag.pointwise in func.tags and func._schema.name not in _TAKES_MASKS:
        return _promoted_bytes(tensors)
    names = [argument.name for argument in func._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    how = _SCRATCH.get(func._schema.name)
    return 0 if how is None else int(how(tensors[0], given, result))


def _promoted_bytes(tensors: list[torch.Tensor]) -> int:
    """Arithmetic over several dtypes (`x * mask`) copies what is not in the common one."""
    large = [x for x in tensors if x.ndim]
    if not large:
        return 0
    common = reduce(torch.promote_types, (x.dtype for x in large))
    return sum(x.numel() * common.itemsize for x in large if x.dtype is not common)


def _sorted_line(x: torch.Tensor, given: Arguments, result: Any) -> int:
    return _INDEX_BYTES * (x.shape[given.get("dim", -1)] if x.ndim else 1)


def _kth_value(x: torch.Tensor, given: Arguments, result: Any) -> int:
    return x.nbytes + _INDEX_BYTES * x.numel()


def _median(x: torch.Tensor, given: Arguments, result: Any) -> int:
    return 0 if given.get("dim") in (-1, x.ndim - 1) else x.nbytes


def _log_sum_exp(x: torch.Tensor, given: Arguments, result: Any) -> int:
    return x.nbytes + int(result.nbytes)


def _casting(x: torch.Tensor, given: Arguments, result: Any) -> int:
    """A reduction into another dtype copies its input."""
    dtype = given.get("dtype") or result.dtype
    return 0 if dtype is x.dtype else x.numel() * int(dtype.itemsize)


def _singular_values(x: torch.Tensor, given: Arguments, result: Any) -> int:
    return x.nbytes if given.get("compute_uv", True) else 0


def _copies(count: int) -> Callable[[torch.Tensor, Arguments, Any], int]:
    return lambda x, given, result: count * x.nbytes


_TAKES_MASKS = {"aten::where", "aten::masked_fill", "aten::masked_fill_"}
_SCRATCH: dict[str, Callable[[torch.Tensor, Arguments, Any], int]] = {
    "aten::sort": _sorted_line,
    "aten::kthvalue": _kth_value,
    "aten::median": _median,
    "aten::nanmedian": _median,
    "aten::logsumexp": _log_sum_exp,
    "aten::sum": _casting,
    "aten::mean": _casting,
    "aten::prod": _casting,
    "aten::cumsum": _casting,
    "aten::linalg_vector_norm": _casting,
    "aten::_euclidean_dist": _copies(2),
    "aten::_linalg_eigh": _copies(2),
    "aten::_linalg_svd": _singular_values,
    "aten::linalg_inv_ex": _copies(1),
    "aten::linalg_pinv": _copies(3),
    "aten::linalg_qr": _copies(1),
}
