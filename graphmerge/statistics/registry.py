"""Which op makes which statistic, and how.

A reduction combines the partial results of tiles into a state, under a lock, and finishes it into
a statistic. A small function maps statistics to a statistic.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from graphmerge.graph import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from graphmerge.spec import TensorSpec

Statistic: TypeAlias = "np.ndarray[Any, Any]"
Partial: TypeAlias = "np.ndarray[Any, Any]"
Small: TypeAlias = "Callable[[Any, Sequence[Statistic]], Statistic]"
OpType = TypeVar("OpType", bound=Op)
Registered = TypeVar("Registered")


class Reduction(ABC):
    """What becomes of the partial results of an op's tiles."""

    @abstractmethod
    def begin(self, op: Any, inputs: tuple[TensorSpec, ...]) -> Statistic:
        """The state before any tile."""

    @abstractmethod
    def combine(self, state: Statistic, partial: Partial, start: int) -> None:
        """Take a tile's partial result into the state; called for every tile once, in any order."""

    @abstractmethod
    def finish(self, op: Any, state: Statistic, statistics: Sequence[Statistic]) -> Statistic:
        """The statistic, when every tile is in."""

    def known(self, op: Any, statistics: Sequence[Statistic]) -> Statistic | None:
        """The statistic, where those before it decide it already: then the pass may be skipped."""
        return None


class Fold(ABC):
    """How a statistic over many tensors takes in statistics, each once, in order of tensors."""

    @abstractmethod
    def begin(self, op: Any, inputs: tuple[TensorSpec, ...]) -> Any:
        """The state before any tensor."""

    @abstractmethod
    def take(self, op: Any, state: Any, place: int, statistic: Statistic) -> None:
        """Take the input at this place into the state; it is not kept."""

    @abstractmethod
    def finish(self, op: Any, state: Any) -> Statistic:
        """The statistic, when every input is in."""


_MODULES = {
    "coefficients": (
        "ArcCoefficients DirectionCoefficients MedianCoefficients PerpendicularCoefficients"
        " StockCoefficients"
    ),
    "competition": "Magnitudes",
    "importance": "QuartileThreshold RowDivergence",
    "karcher": "KarcherCoefficients",
    "magnitude": "MagnitudeDigits TieCutoff",
    "regions": "ActiveCounts OverlapFactors",
    "regression": "CollectMatrices",
    "share": "EnergyShares ShareDigits",
    "spherical": "SphericalCoefficients",
    "sums": "AbsoluteSum Gram ListNumbers NumberAt Ratio SignBalance",
    "vectors": "ColumnGram RowGram",
    "whole_model": (
        "Affine DigitHistogram DigitsOverTensors InverseRootShares KeepTies Pick Shares"
        " SumOverTensors"
    ),
}
"""Which op classes each module of this package registers: it is imported for the first of them."""
_MODULE_OF = {op: module for module, ops in _MODULES.items() for op in ops.split()}
_FOLDS: dict[type[Op], Fold] = {}
_REDUCTIONS: dict[type[Op], Reduction] = {}
_SMALL: dict[type[Op], Small] = {}


def register_reduction(op: type[Op], reduction_of: Reduction) -> None:
    """Register the reduction of an op class."""
    _REDUCTIONS[op] = reduction_of


def register_small(
    op: type[OpType],
) -> Callable[
    [Callable[[OpType, Sequence[Statistic]], Statistic]],
    Callable[[OpType, Sequence[Statistic]], Statistic],
]:
    """Register the function as what maps statistics to a statistic for an op class."""

    def register(
        function: Callable[[OpType, Sequence[Statistic]], Statistic],
    ) -> Callable[[OpType, Sequence[Statistic]], Statistic]:
        _SMALL[op] = function
        return function

    return register


def register_fold(op: type[Op], fold_of: Fold) -> None:
    """Register how an op class takes in statistics of many tensors."""
    _FOLDS[op] = fold_of


def fold(op: Op) -> Fold:
    """How an op takes in statistics of many tensors."""
    return _found(_FOLDS, op)


def reduction(op: Op) -> Reduction:
    """The reduction of an op."""
    return _found(_REDUCTIONS, op)


def small(op: Op) -> Small:
    """What maps statistics to a statistic for an op."""
    return _found(_SMALL, op)


def _found(registered: Mapping[type[Op], Registered], op: Op) -> Registered:
    kind = type(op)
    if kind not in registered:
        import_module(f"graphmerge.statistics.{_MODULE_OF[kind.__name__]}")
    return registered[kind]
