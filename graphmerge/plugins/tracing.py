"""What a function over tensors allocates, and whether it may be cut into tiles: found by trying."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import Access, Workspace

if TYPE_CHECKING:
    import torch

    from graphmerge.ops.custom import Custom
    from graphmerge.spec import TensorSpec

_PROBE_ROWS = (7, 5)
_PROBE_COLUMNS = 16
_SAMPLE_ELEMENTS = 65536


def traced_workspace(op: Custom, inputs: tuple[TensorSpec, ...]) -> Workspace:
    """Bytes that the function allocates, by running it on fake tensors, which hold no data.

    For a function of whole tensors at their true shape; else per element of a tile.

    Raises:
        RecipeError: the function cannot be run without data.
    """
    spec = inputs[0]
    if op.access is Access.WHOLE:
        return Workspace(fixed_bytes=_traced_peak(op, len(inputs), spec.shape, spec.dtype.bits))
    row = spec.shape[-1] if spec.shape else 1
    rows = max(_SAMPLE_ELEMENTS // max(row, 1), 1)
    shape = (rows, row) if op.access is Access.ROWS else (_SAMPLE_ELEMENTS,)
    peak = _traced_peak(op, len(inputs), shape, spec.dtype.bits)
    elements = rows * max(row, 1) if op.access is Access.ROWS else _SAMPLE_ELEMENTS
    return Workspace(per_element_bytes=-(-peak // elements))


@lru_cache(maxsize=4096)
def _traced_peak(op: Custom, count: int, shape: tuple[int, ...], bits: int) -> int:
    import torch  # noqa: PLC0415 - only plans with such a method need it
    from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC0415 - as above

    from graphmerge.kernels.custom import arguments_of  # noqa: PLC0415 - as above
    from graphmerge.plugins.allocations import Allocations  # noqa: PLC0415 - as above

    dtype = torch.float64 if bits == 64 else torch.float32
    try:
        with FakeTensorMode():
            tensors = [torch.empty(shape, dtype=dtype) for _ in range(count)]
            with Allocations(tensors) as allocations:
                op.function(tensors, **arguments_of(op))
    except Exception as error:
        raise RecipeError(
            Problem(
                f"cannot find out what method {op.name} allocates: {type(error).__name__}: {error}",
                hint="give merge_method(workspace_bytes_per_element=...)",
            )
        ) from error
    return int(allocations.peak_bytes)


def access_check(op: Custom, count: int) -> None:
    """Check on random tensors that a function may be cut into tiles as it says.

    Raises:
        RecipeError: pieces give something else than the whole, or the inputs are written to.
    """
    _check_access(op, count)


@lru_cache(maxsize=256)
def _check_access(op: Custom, count: int) -> None:
    import torch  # noqa: PLC0415 - only plans with such a method need it

    generator = torch.Generator().manual_seed(0)
    rows, more = _PROBE_ROWS
    shape = (rows + more, _PROBE_COLUMNS)
    tensors = [torch.randn(shape, generator=generator) for _ in range(count)]
    if op.access is Access.ELEMENTWISE:
        tensors = [x.reshape(-1) for x in tensors]
    kept = [x.clone() for x in tensors]
    whole = _called(op, tensors)
    if not all(torch.equal(x, y) for x, y in zip(tensors, kept, strict=True)):
        raise RecipeError(
            Problem(
                f"method {op.name} writes to its inputs", hint="copy a tensor before changing it"
            )
        )
    if not _same(whole, _called(op, tensors)):
        what = f"method {op.name} gives another result when it is called again"
        raise RecipeError(Problem(what, hint="draw random numbers from a seeded generator"))
    if op.access is Access.WHOLE:
        return
    cut = rows if op.access is Access.ROWS else rows * _PROBE_COLUMNS + 3
    pieces = [_called(op, [x[:cut] for x in tensors]), _called(op, [x[cut:] for x in tensors])]
    if not _same(whole, torch.cat(pieces)):
        raise RecipeError(
            Problem(
                f"method {op.name} is not {op.access.value} as it says",
                got="another result for the pieces of a tensor than for the whole",
                hint='declare access="rows" or access="whole", or let it look at single elements',
            )
        )


def _called(op: Custom, tensors: list[torch.Tensor]) -> torch.Tensor:
    import torch  # noqa: PLC0415 - only plans with such a method need it

    from graphmerge.kernels.custom import arguments_of  # noqa: PLC0415 - as above

    try:
        result: Any = op.function(list(tensors), **arguments_of(op))
    except Exception as error:
        what = f"method {op.name} fails on random tensors: {type(error).__name__}: {error}"
        raise RecipeError(Problem(what, hint="report it to the author of the plug-in")) from error
    if not isinstance(result, torch.Tensor) or result.shape != tensors[0].shape:
        got = list(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        what = f"method {op.name} returns something else than a tensor of its inputs' shape"
        raise RecipeError(Problem(what, got=str(got), wanted=str(list(tensors[0].shape))))
    return result


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all())
