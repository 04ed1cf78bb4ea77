"""The ops: what each one is. What it computes is in `graphmerge.kernels`."""

from graphmerge.ops.arithmetic import AddDelta, Cast, Scale, TaskVector, WeightedSum
from graphmerge.ops.coefficients import (
    ArcCoefficients,
    DirectionCoefficients,
    KarcherCoefficients,
    MedianCoefficients,
    PerpendicularCoefficients,
    StockCoefficients,
)
from graphmerge.ops.consensus import SignConsensus
from graphmerge.ops.custom import CustomElementwise, CustomRows, CustomWhole
from graphmerge.ops.pointwise import NearSwap, TrainDifference
from graphmerge.ops.rescale import AbsoluteSum, Ratio, Rescale
from graphmerge.ops.rows import GatherRows, RowMap
from graphmerge.ops.sources import LoadTensor, RequireIdentical, StackLayer
from graphmerge.ops.sparsify import KeepLargest, MagnitudeDigits, MaskKey, RandomDrop, TieCutoff
from graphmerge.ops.spherical import Combine, Gram, SphericalCoefficients

__all__ = [
    "AbsoluteSum",
    "AddDelta",
    "ArcCoefficients",
    "Cast",
    "Combine",
    "CustomElementwise",
    "CustomRows",
    "CustomWhole",
    "DirectionCoefficients",
    "GatherRows",
    "Gram",
    "KarcherCoefficients",
    "KeepLargest",
    "LoadTensor",
    "MagnitudeDigits",
    "MaskKey",
    "MedianCoefficients",
    "NearSwap",
    "PerpendicularCoefficients",
    "RandomDrop",
    "Ratio",
    "RequireIdentical",
    "Rescale",
    "RowMap",
    "Scale",
    "SignConsensus",
    "SphericalCoefficients",
    "StackLayer",
    "StockCoefficients",
    "TaskVector",
    "TieCutoff",
    "TrainDifference",
    "WeightedSum",
]
