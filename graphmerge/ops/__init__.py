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
from graphmerge.ops.competition import CompetitionMean, CompetitionScore, Magnitudes
from graphmerge.ops.consensus import (
    KeepAgreeing,
    MeanOfNonzero,
    SignBalance,
    SignConsensus,
    Unify,
)
from graphmerge.ops.custom import CustomElementwise, CustomRows, CustomWhole
from graphmerge.ops.dequantise import Dequantise, DequantisePacked
from graphmerge.ops.factors import MergeFactors
from graphmerge.ops.fisher import FisherAverage
from graphmerge.ops.importance import (
    Importance,
    KeepImportant,
    QuartileThreshold,
    RowDivergence,
)
from graphmerge.ops.joint_masks import LargestOf, TallMaskSum
from graphmerge.ops.low_rank import AddLowRank
from graphmerge.ops.matrices import MergeMatrices
from graphmerge.ops.outliers import DropLargest
from graphmerge.ops.pointwise import NearSwap, TrainDifference
from graphmerge.ops.ranked import KeepMasked, RankedMask
from graphmerge.ops.regions import ActiveCounts, OverlapFactors, RegionMean
from graphmerge.ops.regression import CollectMatrices, RegressByGrams
from graphmerge.ops.rescale import AbsoluteSum, Ratio, Rescale
from graphmerge.ops.rows import GatherRows, RowMap
from graphmerge.ops.sources import LoadTensor, RequireIdentical, StackLayer
from graphmerge.ops.sparsify import KeepLargest, MagnitudeDigits, MaskKey, RandomDrop, TieCutoff
from graphmerge.ops.spherical import Combine, Gram, SphericalCoefficients
from graphmerge.ops.task_masks import AgreementBits, KeepWhereBit, ListNumbers, NumberAt
from graphmerge.ops.variance import (
    EnergyConsensus,
    EnergyShares,
    ShareDigits,
    Variance,
    Where,
)
from graphmerge.ops.vectors import ColumnGram, CombineVectors, RowGram
from graphmerge.ops.whole_model import (
    Affine,
    DigitHistogram,
    DigitsOverTensors,
    InverseRootShares,
    KeepTies,
    Pick,
    Shares,
    SumOverTensors,
)

__all__ = [
    "AbsoluteSum",
    "ActiveCounts",
    "AddDelta",
    "AddLowRank",
    "Affine",
    "AgreementBits",
    "ArcCoefficients",
    "Cast",
    "CollectMatrices",
    "ColumnGram",
    "Combine",
    "CombineVectors",
    "CompetitionMean",
    "CompetitionScore",
    "CustomElementwise",
    "CustomRows",
    "CustomWhole",
    "Dequantise",
    "DequantisePacked",
    "DigitHistogram",
    "DigitsOverTensors",
    "DirectionCoefficients",
    "DropLargest",
    "EnergyConsensus",
    "EnergyShares",
    "FisherAverage",
    "GatherRows",
    "Gram",
    "Importance",
    "InverseRootShares",
    "KarcherCoefficients",
    "KeepAgreeing",
    "KeepImportant",
    "KeepInGroups",
    "KeepLargest",
    "KeepMasked",
    "KeepTies",
    "KeepWhereBit",
    "LargestOf",
    "ListNumbers",
    "LoadTensor",
    "MagnitudeDigits",
    "Magnitudes",
    "MaskKey",
    "MeanOfNonzero",
    "MedianCoefficients",
    "MergeFactors",
    "MergeMatrices",
    "NearSwap",
    "NumberAt",
    "OverlapFactors",
    "PerpendicularCoefficients",
    "Pick",
    "QuartileThreshold",
    "RandomDrop",
    "RankedMask",
    "Ratio",
    "RegionMean",
    "RegressByGrams",
    "RequireIdentical",
    "Rescale",
    "RowDivergence",
    "RowGram",
    "RowMap",
    "Scale",
    "ShareDigits",
    "Shares",
    "SignBalance",
    "SignConsensus",
    "SphericalCoefficients",
    "StackLayer",
    "StockCoefficients",
    "SumOverTensors",
    "TallMaskSum",
    "TaskVector",
    "TieCutoff",
    "TrainDifference",
    "Unify",
    "Variance",
    "WeightedSum",
    "Where",
]
