"""The ops: what each one is. What it computes is in `graphmerge.kernels`."""

from graphmerge.ops.arithmetic import AddDelta, Cast, Scale, TaskVector, WeightedSum
from graphmerge.ops.blockwise import KeepInGroups
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
from graphmerge.ops.importance import (
    Importance,
    KeepImportant,
    QuartileThreshold,
    RowDivergence,
)
from graphmerge.ops.joint_masks import LargestOf, TallMaskSum
from graphmerge.ops.outliers import DropLargest
from graphmerge.ops.pointwise import NearSwap, TrainDifference
from graphmerge.ops.ranked import RankedDrop
from graphmerge.ops.regions import ActiveCounts, OverlapFactors, RegionMean
from graphmerge.ops.rescale import AbsoluteSum, Ratio, Rescale
from graphmerge.ops.rows import GatherRows, RowMap
from graphmerge.ops.sources import LoadTensor, RequireIdentical, StackLayer
from graphmerge.ops.sparsify import KeepLargest, MagnitudeDigits, MaskKey, RandomDrop, TieCutoff
from graphmerge.ops.spherical import Combine, Gram, SphericalCoefficients
from graphmerge.ops.variance import (
    EnergyConsensus,
    EnergyShares,
    ShareCutoff,
    ShareDigits,
    Variance,
    Where,
)
from graphmerge.ops.vectors import ColumnGram, CombineVectors, RowGram

__all__ = [
    "AbsoluteSum",
    "ActiveCounts",
    "AddDelta",
    "ArcCoefficients",
    "Cast",
    "ColumnGram",
    "Combine",
    "CombineVectors",
    "CustomElementwise",
    "CustomRows",
    "CustomWhole",
    "DirectionCoefficients",
    "DropLargest",
    "EnergyConsensus",
    "EnergyShares",
    "GatherRows",
    "Gram",
    "Importance",
    "KarcherCoefficients",
    "KeepImportant",
    "KeepInGroups",
    "KeepLargest",
    "LargestOf",
    "LoadTensor",
    "MagnitudeDigits",
    "MaskKey",
    "MedianCoefficients",
    "NearSwap",
    "OverlapFactors",
    "PerpendicularCoefficients",
    "QuartileThreshold",
    "RandomDrop",
    "RankedDrop",
    "Ratio",
    "RegionMean",
    "RequireIdentical",
    "Rescale",
    "RowDivergence",
    "RowGram",
    "RowMap",
    "Scale",
    "ShareCutoff",
    "ShareDigits",
    "SignConsensus",
    "SphericalCoefficients",
    "StackLayer",
    "StockCoefficients",
    "TallMaskSum",
    "TaskVector",
    "TieCutoff",
    "TrainDifference",
    "Variance",
    "WeightedSum",
    "Where",
]
