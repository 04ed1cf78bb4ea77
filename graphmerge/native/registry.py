"""Which op becomes which code.

Native code works on chunks of 1024 elements. Vector code is the body of a loop over the vectors of
a chunk; chunk code stands before such a loop and sees the whole chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llvmlite import ir

    from graphmerge.graph import Op
    from graphmerge.native.chunk_code import ChunkCode
    from graphmerge.native.vector_code import VectorCode
    from graphmerge.statistics import Statistic

    Value: TypeAlias = ir.Value


@frozen
class Arguments:
    """What an instruction's code is given at run time, so that code does not depend on numbers."""

    numbers: tuple[float, ...] = ()
    """Float64 values."""
    words: tuple[int, ...] = ()
    """Integers of 64 bits."""


@frozen
class Lowering:
    """How one op class becomes code."""

    vector: Callable[[Any, VectorCode], Value | None] | None = None
    """Emits vector code; returns the result, None for a reduction."""
    chunk: Callable[[Any, ChunkCode], None] | None = None
    """Emits chunk code."""
    arguments: Callable[[Any, Sequence[Statistic]], Arguments] = lambda op, statistics: Arguments()
    """The arguments for an op with its statistics; as many for every op that shares a structure."""


_LOWERINGS: dict[type[Op], Lowering] = {}


def register_lowering(op: type[Op], lowering: Lowering) -> None:
    """Register how an op class becomes code."""
    _LOWERINGS[op] = lowering


def lowering(op: Op) -> Lowering:
    """How an op becomes code."""
    return _LOWERINGS[type(op)]
