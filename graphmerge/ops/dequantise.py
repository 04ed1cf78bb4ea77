"""A tensor stored as codes and scales: what a quantised checkpoint has of a weight."""

from __future__ import annotations

import math
from typing import ClassVar

from graphmerge.checkpoint.packed_weights import BLOCK_BYTES
from graphmerge.checkpoint.scaled_weights import FLOAT8
from graphmerge.errors import GraphError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Op, Space, Workspace
from graphmerge.spec import DType, TensorSpec

DEQUANTISED_ELEMENTS = 65536
"""Codes that are decoded at a time, where rows are not longer."""
_CHUNK_BYTES = 24
"""Bytes per element of a chunk: codes, the indices that numpy makes of them, and scales as they are
read, decoded and repeated."""
_TABLE_BYTES = 2**19 + 2**11
"""The values of all pairs of codes, and of all codes."""
PACKED_READ_BYTES = 2**20
"""Packed codes that are read at a time, where rows are not longer."""
PACKED_DECODED_BYTES = 2**16
"""Packed codes that are decoded at a time, where a block of each row is not more."""
PACKED_CHUNK_BYTES = 40 * PACKED_DECODED_BYTES
"""A copy of these, the indices that numpy makes of them, two numbers of 4 bytes for each, the same
times scales, and scales as they are read and decoded."""


@frozen(cache_hash=True)
class Dequantise(Op):
    """Every code times the scale of its block, in float32.

    Inputs are the codes, of shape (..., rows, columns), and their scales, of shape (..., blocks of
    rows, blocks of columns) or with axes of one element left out. Blocks at the edges may be
    partial. Both are read from files: the op stands where a stored tensor stands in a program.
    """

    kind: ClassVar[str] = "dequantise"
    access: ClassVar[Access] = Access.ELEMENTWISE
    scheduled_alike: ClassVar[bool] = True

    block_rows: int
    """Rows that share a scale."""
    block_columns: int
    """Columns that share a scale."""

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


@frozen(cache_hash=True)
class DequantisePacked(Op):
    """Codes of 4-bit floats, two in a byte, times powers of two; transposed; in float32.

    The format is MXFP4 of the OCP microscaling specification 1.0. Inputs are the codes, of shape
    (matrices, rows, blocks, 16), and exponents (matrices, rows, blocks); the result has the shape
    (matrices, 32 * blocks, rows). Both are read from files, as with `Dequantise`.
    """

    kind: ClassVar[str] = "dequantise"
    access: ClassVar[Access] = Access.ELEMENTWISE

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The transposed shape, in float32."""
        codes, scales = inputs
        fits = len(scales.shape) == 3 and codes.shape == (*scales.shape, BLOCK_BYTES)
        if not fits or {codes.dtype, scales.dtype} != {DType.U8}:
            got = f"{codes} and {scales}"
            raise GraphError(Problem("no codes of 4-bit floats with their exponents", got=got))
        matrices, rows, blocks = scales.shape
        return TensorSpec((matrices, 2 * BLOCK_BYTES * blocks, rows), DType.F32)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """What is stored is a weight."""
        return Space.WEIGHT

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Some rows as they are stored, and what is decoded of them."""
        row = math.prod(inputs[0].shape[2:])
        return Workspace(fixed_bytes=max(PACKED_READ_BYTES, row) + PACKED_CHUNK_BYTES)

    def settings(self) -> str:
        """The format."""
        return "MXFP4"
