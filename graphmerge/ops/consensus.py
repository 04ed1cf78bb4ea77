"""Sign consensus: the elementwise vote on a direction (TIES-Merging, arXiv 2306.01708)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Op, Space
from graphmerge.ops.block_sums import AbstractBlockSums
from graphmerge.ops.checks import all_in, same_compute_spec, within_float32
from graphmerge.ops.elementwise import OfDeltas
from graphmerge.ops.rescale import SCALAR
from graphmerge.ops.wording import listed
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Hashable

    from graphmerge.spec import TensorSpec


@frozen(cache_hash=True)
class SignConsensus(Op):
    """Weighted sum of the entries that point where the weighted sum of all points.

    With p_i = weights[i] * d_i and s = sign(sum_i p_i), zero counting as +, the result is the sum
    of the p_i of sign s; with `normalize` divided by the sum of their weights (1 where that is
    zero).
    """

    kind: ClassVar[str] = "sign-consensus"
    access: ClassVar[Access] = Access.ELEMENTWISE

    weights: tuple[float, ...]
    """One weight per input."""
    normalize: bool
    """Divide by the weights of the entries that agree."""
    has_balance: bool = False
    """Whether a last input, the sum of a `SignBalance`, breaks draws: below zero they count as
    negative."""

    def structure(self) -> Hashable:
        """Whether weights are summed, which takes a scratch buffer more, and what breaks draws."""
        return (type(self), self.normalize, self.has_balance)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec of the task vectors."""
        return same_compute_spec(inputs[: len(self.weights)])

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Arithmetic in the loop."""
        return Fusion()

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        count = len(self.weights)
        all_in(Space.STATISTIC, inputs[count:], "a statistic breaks draws")
        return all_in(Space.DELTA, inputs[:count], "signs are elected among task vectors")

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The sign, one contribution, and the sum of weights when normalising."""
        return (inputs[0].dtype,) * (3 if self.normalize else 2)

    def settings(self) -> str:
        """Weights and normalisation."""
        text = listed(self.weights)
        return f"{text}; normalize" if self.normalize else text


def elected(
    weights: tuple[float, ...], *, normalize: bool, has_balance: bool = False
) -> SignConsensus:
    """The sign consensus by weights that float32 has room for, if they are divided away."""
    scaled = within_float32(weights) if normalize else weights
    return SignConsensus(scaled, normalize, has_balance)


@frozen(cache_hash=True)
class SignBalance(AbstractBlockSums):
    """sum over all entries of sign(sum_i weights[i] * d_i): positive less negative votes."""

    kind: ClassVar[str] = "sign-balance"
    scheduled_alike: ClassVar[bool] = True

    weights: tuple[float, ...]
    """One weight per input."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """One number."""
        same_compute_spec(inputs)
        return SCALAR

    def sum_columns(self, count: int) -> int:
        """One."""
        return 1

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic of deltas."""
        all_in(Space.DELTA, inputs, "signs are elected among task vectors")
        return Space.STATISTIC

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The vote, and its sign in float64."""
        return (inputs[0].dtype, DType.F64)


@frozen(cache_hash=True)
class MeanOfNonzero(OfDeltas):
    """The mean of those inputs that are not zero, element by element; 0 where all are."""

    kind: ClassVar[str] = "mean-of-nonzero"
    why: ClassVar[str] = "sparse task vectors are stitched"

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The count, and which entries count."""
        return (inputs[0].dtype,) * 2


@frozen(cache_hash=True)
class Unify(OfDeltas):
    """s max_i max(s d_i, 0) with s the sign of sum_i d_i, zero counting as negative.

    The unified task vector of EMR-Merging, arXiv 2405.17461.
    """

    kind: ClassVar[str] = "unify"
    why: ClassVar[str] = "task vectors are unified"

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The sign, and one task vector times it."""
        return (inputs[0].dtype,) * 2


@frozen(cache_hash=True)
class KeepAgreeing(OfDeltas):
    """x where y is not zero and has its sign, else 0; of inputs (x, y)."""

    kind: ClassVar[str] = "keep-agreeing"
    why: ClassVar[str] = "signs of task vectors are compared"

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The mask as factors."""
        return (inputs[0].dtype,)
