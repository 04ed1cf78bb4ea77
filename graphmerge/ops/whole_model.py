"""Statistics over many tensors: sums, and order statistics of all magnitudes of a model.

Their inputs are reductions of one tensor after the other, `width` for each tensor, mostly one per
model; they are taken in as the passes over the tensors make them. See `Op.fold_width`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.ops.checks import same_compute_spec
from graphmerge.ops.small import AbstractSmall
from graphmerge.ops.sparsify import DIGIT_BITS, HISTOGRAM_BYTES, AbstractDigits
from graphmerge.spec import DType, TensorSpec

if TYPE_CHECKING:
    from graphmerge.graph import Alike


@frozen(cache_hash=True)
class SumOverTensors(AbstractSmall):
    """Sums of numbers over many tensors: `width` sums of one number per tensor each."""

    kind: ClassVar[str] = "sum-over-tensors"
    why: ClassVar[str] = "sums over tensors are taken of statistics"

    width: int
    """Numbers per tensor, and sums."""
    alike: tuple[Alike, ...] = ()
    """Kinds of tensors."""

    @property
    def fold_width(self) -> int:
        """The width."""
        return self.width

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """One number per sum."""
        assert all(spec.numel == 1 for spec in inputs), "a sum is taken of single numbers"
        return TensorSpec((self.width,), DType.F64)

    def state_bytes(self, inputs: tuple[TensorSpec, ...]) -> int:
        """Every number: they are added up exactly."""
        return 8 * (self.width * _tensors(self.alike) if self.alike else len(inputs))

    def settings(self) -> str:
        """Of how many tensors, where inputs are those of the first of each kind."""
        return f"{_tensors(self.alike)} tensors" if self.alike else ""


def _tensors(alike: tuple[Alike, ...]) -> int:
    """How many tensors there are of all kinds."""
    return sum(len(kind.members) for kind in alike)


@frozen(cache_hash=True)
class DigitHistogram(AbstractDigits):
    """How often each value of a digit occurs among magnitudes that share the digits before it.

    Inputs are the delta and, after the first digit, the `DigitsOverTensors` of the digit before.
    """

    kind: ClassVar[str] = "digit-histogram"

    digit: int
    """Which digit, 0 for the most significant."""
    place: int
    """Which of the models that the digit before is of; 0 for the first digit."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """A count per value."""
        spec = same_compute_spec(inputs[:1])
        counts = DType.U32 if spec.numel < 1 << 32 else DType.I64
        return TensorSpec((1 << DIGIT_BITS[spec.dtype][self.digit],), counts)

    def state_bytes(self, inputs: tuple[TensorSpec, ...]) -> int:
        """None beside the statistic itself."""
        return 0

    def settings(self) -> str:
        """The digit."""
        return f"digit {self.digit}"


@frozen(cache_hash=True)
class DigitsOverTensors(AbstractSmall):
    """One more digit of the k-th largest magnitude of each model, over many tensors.

    Inputs are a `DigitHistogram` per tensor and model and, after the first digit, the statistic of
    the digit before. The statistic holds three integers per model, as `MagnitudeDigits` does: the
    bits so far, how many magnitudes are surely above, and how many have these bits.
    """

    kind: ClassVar[str] = "digits-over-tensors"
    why: ClassVar[str] = "digits are found in histograms"

    keep: tuple[int, ...]
    """k of every model, at least 1 and at most its entries."""
    digit: int
    """Which digit, 0 for the most significant."""
    alike: tuple[Alike, ...] = ()
    """Kinds of tensors."""

    @property
    def fold_width(self) -> int:
        """A histogram per model."""
        return len(self.keep)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Three 64-bit integers per model."""
        return TensorSpec((len(self.keep), 3), DType.I64)

    def state_bytes(self, inputs: tuple[TensorSpec, ...]) -> int:
        """A 64-bit histogram per model."""
        return HISTOGRAM_BYTES * len(self.keep)

    def settings(self) -> str:
        """Digit and k."""
        return f"digit {self.digit}, keep {', '.join(map(str, self.keep))}"


@frozen(cache_hash=True)
class KeepTies(AbstractSmall):
    """The cutoff of one model, all ties kept, from the last `DigitsOverTensors`.

    The statistic is what `KeepLargest` takes: see `TieCutoff`.
    """

    kind: ClassVar[str] = "keep-ties"
    why: ClassVar[str] = "a cutoff is taken of digits"

    place: int
    """Which of the models."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Three 64-bit integers."""
        return TensorSpec((3,), DType.I64)


@frozen(cache_hash=True)
class Pick(AbstractSmall):
    """One number of several."""

    kind: ClassVar[str] = "pick"
    why: ClassVar[str] = "a number is picked from a statistic"

    place: int
    """Which."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """One number."""
        return TensorSpec((), DType.F64)


@frozen(cache_hash=True)
class Shares(AbstractSmall):
    """Numbers over their sum; equal shares where that is zero."""

    kind: ClassVar[str] = "shares"
    why: ClassVar[str] = "shares are taken of a statistic"

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """As many numbers."""
        return inputs[0]


@frozen(cache_hash=True)
class InverseRootShares(AbstractSmall):
    """1 / sqrt(x_i) over the sum of all, of sums of squares; zero for a zero among others."""

    kind: ClassVar[str] = "inverse-root-shares"
    why: ClassVar[str] = "shares are taken of statistics"

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """As many numbers as the inputs hold."""
        return TensorSpec((sum(spec.numel for spec in inputs),), DType.F64)


@frozen(cache_hash=True)
class Affine(AbstractSmall):
    """factor * x + offset of a number."""

    kind: ClassVar[str] = "affine"
    why: ClassVar[str] = "a statistic is scaled"
    scheduled_alike: ClassVar[bool] = True

    factor: float
    """What it is multiplied by."""
    offset: float
    """What is added."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """One number."""
        return inputs[0]

    def settings(self) -> str:
        """Both."""
        return f"{self.factor:g}, {self.offset:g}"
