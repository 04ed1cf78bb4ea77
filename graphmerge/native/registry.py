"""Which op becomes which code.

Native code works on chunks of 1024 elements. Vector code is the body of a loop over the vectors of
a chunk; chunk code stands before such a loop and sees the whole chunk.
"""

from __future__ import annotations

from importlib import import_module
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


_MODULES = {
    "arithmetic": "AddDelta Cast Combine Rescale Scale TaskVector WeightedSum",
    "blockwise": "KeepInGroups",
    "competition": "CompetitionMean CompetitionScore",
    "consensus": "KeepAgreeing MeanOfNonzero SignBalance SignConsensus Unify",
    "fisher": "FisherAverage",
    "identical": "RequireIdentical",
    "importance": "Importance KeepImportant",
    "joint_masks": "LargestOf TallMaskSum",
    "magnitude": "DigitHistogram DropLargest KeepLargest MagnitudeDigits TieCutoff",
    "masked": "KeepMasked",
    "pointwise": "NearSwap TrainDifference",
    "random_drop": "RandomDrop",
    "regions": "ActiveCounts RegionMean",
    "sums": "AbsoluteSum Gram",
    "task_masks": "AgreementBits KeepWhereBit NumberAt",
    "variance": "EnergyConsensus ShareDigits Variance Where",
    "vectors": "ColumnGram CombineVectors RowGram",
}
"""Which op classes each module of this package registers: it is imported for the first of them."""
_MODULE_OF = {op: module for module, ops in _MODULES.items() for op in ops.split()}
_LOWERINGS: dict[type[Op], Lowering] = {}


def register_lowering(op: type[Op], lowering: Lowering) -> None:
    """Register how an op class becomes code."""
    _LOWERINGS[op] = lowering


def lowering(op: Op) -> Lowering:
    """How an op becomes code."""
    kind = type(op)
    if kind not in _LOWERINGS:
        import_module(f"graphmerge.native.{_MODULE_OF[kind.__name__]}")
    return _LOWERINGS[kind]
