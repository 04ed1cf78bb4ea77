"""Keeping part of a task vector: the largest magnitudes, or a random choice.

The k largest magnitudes are found exactly and in a streaming way. A magnitude's bits, read as an
integer, order like the magnitude, so the k-th largest is found digit by digit: one histogram per
digit of 15 or 16 bits (`MagnitudeDigits`), then the place of the last tie that is kept
(`TieCutoff`). For several k the first digit is counted once, the next ones in the same pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import evolve

from graphmerge.errors import GraphError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Op, Space, Workspace
from graphmerge.ops.blocks import BLOCK_ELEMENTS, blocks
from graphmerge.ops.checks import all_in, same_compute_spec
from graphmerge.spec import DType, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

DIGIT_BITS = {DType.F32: (15, 16), DType.F64: (15, 16, 16, 16)}
"""Widths of the digits of a magnitude, most significant first (the sign bit is no part of it)."""
BITS_DTYPE = {DType.F32: DType.I32, DType.F64: DType.I64}
"""Integers as wide as a magnitude."""
HISTOGRAM_BYTES = 8 * 65536
"""A count for every value of the widest digit."""


def delta_and_statistics(inputs: tuple[Space, ...]) -> Space:
    """A delta. Raises GraphError unless that is the first input, and statistics are all others."""
    all_in(Space.STATISTIC, inputs[1:], "what sparsifying goes by is a statistic")
    return all_in(Space.DELTA, inputs[:1], "only task vectors are sparsified")


class AbstractDigits(Op):
    """Counts the values of one digit among magnitudes of a delta that share the digits before it.

    Inputs are the delta and, after the first digit, a statistic with the digits before.
    """

    access: ClassVar[Access] = Access.REDUCE
    digit: int
    """Which digit, 0 for the most significant."""

    @property
    def histograms(self) -> int:
        """How many there are: one for all, or for each of the digits before."""
        return 1

    def structure(self) -> Hashable:
        """The digit and the number of histograms, on which workspace depends."""
        return (type(self), self.digit, self.histograms)

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """The histograms of a chunk at a time, one behind the other."""
        bits = DIGIT_BITS[inputs[0].dtype][self.digit]
        return Fusion(reads_chunk=True, histogram_bins=self.histograms << bits)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic of a delta."""
        delta_and_statistics(inputs)
        return Space.STATISTIC

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The magnitude's bits, and digits as wide as a histogram wants them."""
        return (BITS_DTYPE[inputs[0].dtype], DType.I64)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """After the first digit two masks and the candidates, narrow and wide; and histograms."""
        per_element = 0 if self.digit == 0 else 2 + inputs[0].dtype.bits // 8 + 8
        several = self.histograms > 1  # then each is made before it goes to its place
        return Workspace(per_element, fixed_bytes=HISTOGRAM_BYTES * (self.histograms + several))

    def state_bytes(self, inputs: tuple[TensorSpec, ...]) -> int:
        """All histograms."""
        return HISTOGRAM_BYTES * self.histograms


@frozen(cache_hash=True)
class MagnitudeDigits(AbstractDigits):
    """One more digit of the k-th largest magnitude, for each of several k.

    Inputs are the delta and, after the first digit, the statistic of the digit before. The
    statistic holds a row of four integers for each k: the bits of the k-th largest magnitude so
    far, how many magnitudes are surely above it, how many have these bits, and k.
    """

    kind: ClassVar[str] = "magnitude-digits"

    keep: tuple[int, ...]
    """Every k, at least 1."""
    digit: int
    """Which digit, 0 for the most significant."""

    @property
    def histograms(self) -> int:
        """One of the first digit, then one for each k."""
        return len(self.keep) if self.digit else 1

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Four 64-bit integers for each k."""
        spec = same_compute_spec(inputs[:1])
        for keep in self.keep:
            if not 0 < keep <= spec.numel:
                raise GraphError(
                    Problem("cannot keep this many", got=str(keep), wanted=f"1 to {spec.numel}")
                )
        return TensorSpec((len(self.keep), 4), DType.I64)

    def settings(self) -> str:
        """Digit and every k."""
        return f"digit {self.digit}, keep {', '.join(map(str, self.keep))}"


@frozen(cache_hash=True)
class TieCutoff(Op):
    """Where the ties at the k-th largest magnitude end: the lowest flat indices are kept.

    Inputs are the delta and the statistic of its last digit. The statistic holds three integers:
    the bits of the k-th largest magnitude, the numerics block with the last kept tie, and the
    number of ties kept in that block. Where k is 0 nothing is kept.
    """

    kind: ClassVar[str] = "tie-cutoff"
    access: ClassVar[Access] = Access.REDUCE
    scheduled_alike: ClassVar[bool] = True

    place: int = 0
    """Which k, of those that the last digit is for."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Three 64-bit integers."""
        same_compute_spec(inputs[:1])
        return TensorSpec((3,), DType.I64)

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Ties are counted as a sum."""
        return Fusion(sum_columns=1)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic of a delta."""
        delta_and_statistics(inputs)
        return Space.STATISTIC

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The magnitude's bits."""
        return (BITS_DTYPE[inputs[0].dtype],)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A mask."""
        return Workspace(1)

    def state_bytes(self, inputs: tuple[TensorSpec, ...]) -> int:
        """One count per block."""
        return 8 * blocks(inputs[0])


class AbstractByCutoff(Op):
    """A part of the entries of a delta, else zero; of inputs (delta, a TieCutoff)."""

    access: ClassVar[Access] = Access.ELEMENTWISE
    scheduled_alike: ClassVar[bool] = True

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Unchanged."""
        return same_compute_spec(inputs[:1])

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """What is kept is the same for all ties of a chunk, but for those of one block."""
        return Fusion(chunk_value=True)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        return delta_and_statistics(inputs)


@frozen(cache_hash=True)
class KeepLargest(AbstractByCutoff):
    """The k largest magnitudes of a delta, else zero; of inputs (delta, its TieCutoff)."""

    kind: ClassVar[str] = "sparsify"

    density: float
    """The fraction that was asked for, for readers; the cutoff decides."""

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The magnitude's bits."""
        return (BITS_DTYPE[inputs[0].dtype],)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """The mask and the indices of the ties of one block."""
        return Workspace(fixed_bytes=BLOCK_ELEMENTS * (1 + 8))

    def settings(self) -> str:
        """Kind of sparsification and density."""
        return f"magnitude, density={self.density:g}"


@frozen(cache_hash=True)
class MaskKey:
    """What a random mask depends on, beside the flat index of the element."""

    seed: int
    """Seed of the run."""
    model: str
    """Model as the recipe refers to it."""
    tensor: str
    """Tensor name in the output."""

    def for_tensors(self, names: Mapping[str, str]) -> MaskKey:
        """The key for another tensor, if there is another one for this."""
        return evolve(self, tensor=names[self.tensor]) if self.tensor in names else self


@frozen(cache_hash=True)
class RandomDrop(Op):
    """Each element kept with probability `density`, zero otherwise; no rescaling.

    DARE, arXiv 2311.03099, without its 1/density.
    """

    kind: ClassVar[str] = "sparsify"
    access: ClassVar[Access] = Access.ELEMENTWISE
    in_place: ClassVar[bool] = True
    scheduled_alike: ClassVar[bool] = True

    density: float
    """Probability of keeping an element."""
    key: MaskKey
    """What the mask depends on."""

    def for_tensors(self, names: Mapping[str, str]) -> RandomDrop:
        """The same with the mask of another tensor."""
        return evolve(self, key=self.key.for_tensors(names))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Unchanged."""
        return same_compute_spec(inputs)

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """A mask for a chunk at a time."""
        return Fusion(mask=1)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        return all_in(Space.DELTA, inputs, "only task vectors are sparsified")

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The mask as factors."""
        return (inputs[0].dtype,)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Random bytes, drawn with one more array of them, and two comparisons; 1/256 of more."""
        return Workspace(5)

    def settings(self) -> str:
        """Kind of sparsification and density."""
        return f"random, density={self.density:g}"
