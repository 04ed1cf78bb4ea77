"""Selecting the entries in which task vectors differ most (SCE, arXiv 2408.07990).

The k largest of the variances that are not zero are found as the k largest magnitudes are, only
that k is known when the zeros are counted: with the first digit.
"""

from __future__ import annotations

from typing import ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Op, Space, Workspace
from graphmerge.ops.checks import all_in, same_compute_spec
from graphmerge.ops.elementwise import OfDeltas
from graphmerge.ops.small import AbstractSmall
from graphmerge.ops.sparsify import DIGIT_BITS, HISTOGRAM_BYTES, AbstractDigits
from graphmerge.spec import DType, TensorSpec

ZERO_BIN = 1 << 15
"""Where the histogram of a first digit counts zeros: after all digits."""


@frozen(cache_hash=True)
class Variance(OfDeltas):
    """n times the variance of each entry over n deltas; exactly zero where all are equal.

    With e_i = x_i - x_1 and m = sum_i e_i / n it is sum_i (e_i - m)^2.
    """

    kind: ClassVar[str] = "variance"
    why: ClassVar[str] = "a variance is taken over task vectors"

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The mean and a part."""
        return (inputs[0].dtype,) * 2


@frozen(cache_hash=True)
class ShareDigits(AbstractDigits):
    """One more digit of the k-th largest magnitude, k = int(share * number that are not zero).

    Inputs are the tensor and, after the first digit, the statistic of the digit before. The
    statistic is that of `MagnitudeDigits` for one k.
    """

    kind: ClassVar[str] = "share-digits"

    share: float
    """Fraction of the magnitudes that are not zero, 0 to 1."""
    digit: int
    """Which digit, 0 for the most significant."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Four 64-bit integers, in one row."""
        same_compute_spec(inputs[:1])
        return TensorSpec((1, 4), DType.I64)

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """The histogram of a chunk at a time; of the first digit with a bin for zeros."""
        bins = 1 << DIGIT_BITS[inputs[0].dtype][self.digit]
        return Fusion(reads_chunk=True, histogram_bins=bins + (self.digit == 0))

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A mask, or two and the candidates, narrow and wide; and a histogram."""
        per_element = 1 if self.digit == 0 else 2 + inputs[0].dtype.bits // 8 + 8
        return Workspace(per_element, fixed_bytes=HISTOGRAM_BYTES)

    def settings(self) -> str:
        """Digit and share."""
        return f"digit {self.digit}, share {self.share:g}"


@frozen(cache_hash=True)
class Where(OfDeltas):
    """The first input where another one is not zero, or where all others are zero; else zero."""

    kind: ClassVar[str] = "where"
    why: ClassVar[str] = "entries are selected from task vectors by task vectors"

    others_are_zero: bool
    """Which of the two."""

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Two masks."""
        return Workspace(2)

    def settings(self) -> str:
        """Which of the two."""
        return "the others are zero" if self.others_are_zero else "another is not zero"


@frozen(cache_hash=True)
class EnergyShares(AbstractSmall):
    """The squared norm of each delta over the sum of all, of 1 by 1 Gram matrices; 0 if all are."""

    kind: ClassVar[str] = "energy-shares"
    why: ClassVar[str] = "shares are taken of squared norms"

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """A number per delta."""
        return TensorSpec((len(inputs),), DType.F64)


@frozen(cache_hash=True)
class EnergyConsensus(Op):
    """Weighted mean of the entries that point where the plain sum of all points.

    Inputs are deltas and a statistic with their weights a_i. With s = sign(sum_i x_i), zero
    counting as +, it is sum a_i x_i / max(sum a_i, 1e-6) over the x_i of sign s.
    """

    kind: ClassVar[str] = "energy-consensus"
    access: ClassVar[Access] = Access.ELEMENTWISE

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec."""
        return same_compute_spec(inputs[:-1])

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Arithmetic in the loop."""
        return Fusion()

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        all_in(Space.STATISTIC, inputs[-1:], "weights are a statistic")
        return all_in(Space.DELTA, inputs[:-1], "signs are elected among task vectors")

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The sign, one contribution, and the sum of weights."""
        return (inputs[0].dtype,) * 3
