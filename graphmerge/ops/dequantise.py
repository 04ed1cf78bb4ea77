"""A tensor stored as codes of 8 bits and scales: what a quantised checkpoint has of a weight."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from graphmerge.errors import GraphError, Problem
from graphmerge.graph import Access, Op, Space, Workspace
from graphmerge.spec import DType, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Hashable

DEQUANTISED_ELEMENTS = 65536
"""Codes that are decoded at a time, where rows are not longer."""
_CHUNK_BYTES = 24
"""Bytes per element of a chunk: codes, the indices that numpy makes of them, and scales as they are
read, decoded and repeated."""
_TABLE_BYTES = 2**19 + 2**11
"""The values of all pairs of codes, and of all codes."""
FLOAT8 = (DType.F8_E4M3, DType.F8_E5M2)
"""Dtypes of codes."""


@frozen(cache_hash=True)
class Dequantise(Op):
    """Every code times the scale of its block, in float32.

    Inputs are the codes, of shape (..., rows, columns), and their scales, of shape (..., blocks of
    rows, blocks of columns) or with axes of one element left out. Blocks at the edges may be
    partial. Both are read from files: the op stands where a stored tensor stands in a program.
    """

    kind: ClassVar[str] = "dequantise"
    access: ClassVar[Access] = Access.ELEMENTWISE

    block_rows: int
    """Rows that share a scale."""
    block_columns: int
    """Columns that share a scale."""

    def structure(self) -> Hashable:
        """The class: the numbers only say what is read."""
        return type(self)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The shape of the codes, in float32."""
        codes, scales = inputs
        if codes.dtype not in FLOAT8:
            wanted = " or ".join(dtype.value for dtype in FLOAT8)
            raise GraphError(
                Problem("no codes of 8-bit floats", got=codes.dtype.value, wanted=wanted)
            )
        blocks = self.blocks(codes)
        if len(codes.shape) < 2 or scales.numel != math.prod((*codes.shape[:-2], *blocks)):
            got, wanted = f"{list(scales.shape)}", f"{[*codes.shape[:-2], *blocks]}"
            raise GraphError(Problem("scales that do not fit the codes", got=got, wanted=wanted))
        if not (scales.dtype.is_mergeable_float or scales.dtype is DType.F8_E8M0):
            raise GraphError(Problem("no scales", got=scales.dtype.value, wanted="floats"))
        return codes.with_dtype(DType.F32)

    def blocks(self, codes: TensorSpec) -> tuple[int, int]:
        """How many blocks a matrix of the codes has, along the rows and along the columns."""
        rows, columns = codes.shape[-2:] if len(codes.shape) > 1 else (1, codes.numel)
        return -(-rows // self.block_rows), -(-columns // self.block_columns)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """What is stored is a weight."""
        return Space.WEIGHT

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A chunk of codes with its scales, and the table of values."""
        columns = inputs[0].shape[-1]
        return Workspace(
            fixed_bytes=_CHUNK_BYTES * max(columns, DEQUANTISED_ELEMENTS) + _TABLE_BYTES
        )

    def settings(self) -> str:
        """The size of a block."""
        return f"{self.block_rows} x {self.block_columns}"
