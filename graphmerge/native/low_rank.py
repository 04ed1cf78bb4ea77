"""Products of thin matrices: emit and call the function that adapters' factors are multiplied by.

    void low_rank_product(panels, left, out, scale, rows, panel count, rank)

A panel is 16 columns of the right factor, one rank after the other, so that it stays in cache while
the rows go by; four rows at a time are added up in registers.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from graphmerge.arrays import address_of
from graphmerge.native.functions import once
from graphmerge.native.loops import at, integer, load_element, loop, variable
from graphmerge.native.machine_code import loaded
from graphmerge.native.types import (
    DOUBLE,
    FLOAT,
    INT64,
    POINTER,
    VECTOR_ELEMENTS,
    splat,
    spread,
    vector_type,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from llvmlite import binding
    from numpy.typing import NDArray

    from graphmerge.native.registry import Value

_SIGNATURE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_double, *[ctypes.c_int64] * 3)
_ROWS = 4
"""Rows that are added up together: as many as have room in registers."""


class NativeProduct:
    """Products of one right factor with rows of a left one.

    Sums go over the ranks in rising order from zero, every step rounded.
    """

    def __init__(self, right: NDArray[Any]) -> None:
        """Prepare with the right factor, float32 or float64. Shape (rank, columns)."""
        self._rank, columns = right.shape
        count = -(-columns // VECTOR_ELEMENTS)
        self._panels = np.zeros((count, self._rank, VECTOR_ELEMENTS), right.dtype)
        whole = columns // VECTOR_ELEMENTS
        cut = whole * VECTOR_ELEMENTS
        for rank, row in enumerate(right):
            self._panels[:whole, rank] = row[:cut].reshape(whole, VECTOR_ELEMENTS)
            self._panels[whole:, rank, : columns - cut] = row[cut:]
        self._call, self._engine = _function(right.dtype.itemsize)

    def __call__(self, left: NDArray[Any], scale: float) -> NDArray[Any]:
        """The product with rows (rows, rank), scaled; columns that fill the last panel are zero."""
        left = np.ascontiguousarray(left)
        count = len(self._panels)
        out = np.empty((len(left), count * VECTOR_ELEMENTS), left.dtype)
        arrays = map(address_of, (self._panels, left, out))
        self._call(*arrays, scale, len(left), count, self._rank)
        return out


@once
def _function(item_bytes: int) -> tuple[Callable[..., None], binding.ExecutionEngine]:
    engine = loaded(str(emit_low_rank_product(FLOAT if item_bytes == 4 else DOUBLE)))
    return _SIGNATURE(engine.get_function_address("low_rank_product")), engine


def emit_low_rank_product(element: ir.Type) -> ir.Module:
    """The module with the function, for factors of these elements."""
    module = ir.Module("low_rank")
    arguments = [POINTER, POINTER, POINTER, DOUBLE, INT64, INT64, INT64]
    kind = ir.FunctionType(ir.VoidType(), arguments)
    function = ir.Function(module, kind, "low_rank_product")
    panels, left, out, scale, rows, count, rank = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    number = scale if element is DOUBLE else builder.fptrunc(scale, element)
    code = _Code(builder, element, left, out, spread(builder, number), rank, count)
    grouped = builder.and_(rows, integer(-_ROWS))
    with loop(builder, count) as panel:
        offset = builder.mul(builder.mul(panel, rank), integer(VECTOR_ELEMENTS))
        right = at(builder, panels, offset, element)
        with loop(builder, grouped, _ROWS) as row:
            code.rows(right, panel, row, _ROWS)
        with loop(builder, builder.sub(rows, grouped)) as row:
            code.rows(right, panel, builder.add(grouped, row), 1)
    builder.ret_void()
    return module


class _Code:
    """Emits the sums of some rows with one panel."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        element: ir.Type,
        left: Value,
        out: Value,
        scale: Value,
        rank: Value,
        count: Value,
    ) -> None:
        self._builder, self._element = builder, element
        self._left, self._out, self._scale, self._rank = left, out, scale, rank
        self._row_length = builder.mul(count, integer(VECTOR_ELEMENTS))

    def rows(self, right: Value, panel: Value, row: Value, count: int) -> None:
        """Rows from `row` on, this many."""
        builder, vector = self._builder, vector_type(self._element)
        sums = [variable(builder, splat(0.0, self._element)) for _ in range(count)]
        numbers = [builder.add(row, integer(place)) for place in range(count)]
        with loop(builder, self._rank) as k:
            place = at(builder, right, builder.mul(k, integer(VECTOR_ELEMENTS)), self._element)
            factor = builder.load(place, align=4, typ=vector)
            for number, total in zip(numbers, sums, strict=True):
                index = builder.add(builder.mul(number, self._rank), k)
                one = spread(builder, load_element(builder, self._left, index, self._element))
                product = builder.fmul(one, factor)
                builder.store(builder.fadd(builder.load(total, typ=vector), product), total)
        column = builder.mul(panel, integer(VECTOR_ELEMENTS))
        for number, total in zip(numbers, sums, strict=True):
            index = builder.add(builder.mul(number, self._row_length), column)
            scaled = builder.fmul(builder.load(total, typ=vector), self._scale)
            builder.store(scaled, at(builder, self._out, index, self._element), align=4)
