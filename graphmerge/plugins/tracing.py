"""What a function over tensors allocates: found by running it while its allocations are counted."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.errors import RecipeError
from graphmerge.graph import Access, Workspace
from graphmerge.machine import return_freed_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.ops.custom import Custom
    from graphmerge.spec import TensorSpec

_FEW_ELEMENTS, _SAMPLE_ELEMENTS = 64, 2**17
"""Elements of the small tile, and of the smaller of the large ones; plans have up to 2**18."""
_REUSED = 2
"""Tiles of a function take this many times what it allocates: the C library keeps what was freed,
which does not fit what is allocated next. Measured 1.8 at most."""
_CODE_BYTES = 12 * 2**20
"""Code of torch that a function is the first to use, and what is left of trying it: a median took 8
MiB of the one and 4 of the other, more than a weighted sum."""
_TRACER_BYTES = 112 * 2**20
"""That, and what torch loads (its compiler) to run it on tensors without data."""
_NO_DATA = (
    "it was run on tensors without data; if it looks at values (.item(), if, numpy), give "
    "merge_method(workspace_bytes_per_element=...)"
)


def traced_workspace(op: Custom, inputs: tuple[TensorSpec, ...]) -> Workspace:
    """Bytes that a process needs for what the function allocates.

    Raises:
        RecipeError: the function cannot be run, or not without data.
    """
    is_small = op.access is not Access.WHOLE and _has_data(op, inputs[0])
    return _with_waste(op, allocated(op, inputs), _CODE_BYTES if is_small else _TRACER_BYTES)


def stated_workspace(op: Custom, bytes_per_element: int) -> Workspace:
    """Bytes that a process needs for what the author says that the function allocates."""
    return _with_waste(op, Workspace(bytes_per_element), _CODE_BYTES)


def _with_waste(op: Custom, found: Workspace, more_bytes: int) -> Workspace:
    factor = 1 if op.access is Access.WHOLE else _REUSED
    return Workspace(factor * found.per_element_bytes, factor * found.fixed_bytes, more_bytes)


def allocated(op: Custom, inputs: tuple[TensorSpec, ...]) -> Workspace:
    """Bytes that the function allocates.

    A function of whole tensors runs at their true shape, on tensors without data. One of tiles runs
    on a small tile and on two large ones: what it takes is the largest of several lines, so that
    the one that rises like the last and begins where the first does is above all.

    Raises:
        RecipeError: the function cannot be run, or not without data.
    """
    spec, count, bits = inputs[0], len(inputs), inputs[0].dtype.bits
    if op.access is Access.WHOLE:
        return Workspace(fixed_bytes=_peak(op, count, spec.shape, bits, has_data=False))
    row = _row_elements(op, spec)
    columns = (row,) if op.access is Access.ROWS else ()
    few, half = max(_FEW_ELEMENTS // row, 1), max(_SAMPLE_ELEMENTS // row, 2)
    small, middle, large = (
        _peak(op, count, (rows, *columns), bits, has_data=_has_data(op, spec))
        for rows in (few, half, 2 * half)
    )
    per_element = -(-max(large - middle, 0) // (half * row))
    return Workspace(per_element, max(small - per_element * few * row, 0))


def _row_elements(op: Custom, spec: TensorSpec) -> int:
    """Elements of which a tile has a whole number."""
    return max(spec.shape[-1], 1) if spec.shape and op.access is Access.ROWS else 1


def _has_data(op: Custom, spec: TensorSpec) -> bool:
    """Whether tiles to try the function on are small enough to be there."""
    return _row_elements(op, spec) <= _SAMPLE_ELEMENTS


@lru_cache(maxsize=4096)
def _peak(op: Custom, count: int, shape: tuple[int, ...], bits: int, *, has_data: bool) -> int:
    """Most bytes at one time in one call."""
    import torch  # noqa: PLC0415 - only plans with such a method need it

    from graphmerge.kernels.custom import result_of  # noqa: PLC0415 - as above
    from graphmerge.plugins.allocations import Allocations  # noqa: PLC0415 - as above

    dtype = torch.float64 if bits == 64 else torch.float32
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(shape, dtype=dtype, generator=generator)
        if has_data
        else torch.empty(shape, dtype=dtype, device="meta")
        for _ in range(count)
    ]
    with _trial(), Allocations(tensors) as allocations:
        try:
            result_of(op, tensors)
        except RecipeError as error:
            if has_data or error.__cause__ is None:  # it runs, and returns something wrong
                raise
            (problem,) = error.problems
            what = f"cannot find out what is allocated: {problem.what}"
            raise RecipeError(evolve(problem, what=what, hint=_NO_DATA)) from error
    return int(allocations.peak_bytes)


@contextmanager
def _trial() -> Iterator[None]:
    """Let collections look at new objects only, and give back the memory of what was freed.

    The graph of a large model has many objects; and a run would have that memory beside its own.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        return_freed_memory()
