"""Entries that are chosen by all task vectors together: magmax, and masks of consensus."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Workspace
from graphmerge.ops.elementwise import OfDeltas
from graphmerge.ops.wording import listed

if TYPE_CHECKING:
    from graphmerge.spec import DType, TensorSpec


@frozen(cache_hash=True)
class LargestOf(OfDeltas):
    """Of each entry the one of largest magnitude (MagMax, arXiv 2407.06322).

    Of opposite entries of one magnitude the positive one, so that the order of inputs is nothing.
    """

    kind: ClassVar[str] = "largest-of"
    why: ClassVar[str] = "the largest is chosen among task vectors"

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The most and the least so far, and what is chosen next."""
        return (inputs[0].dtype,) * 3

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A mask."""
        return Workspace(1)


@frozen(cache_hash=True)
class TallMaskSum(OfDeltas):
    """The sum of deltas where enough of them have a say in it, else zero.

    With t = sum_i x_i an input has a say where |x_i| > thresholds[i] * |t - x_i| (TALL masks,
    arXiv 2405.07813).
    """

    kind: ClassVar[str] = "tall-mask-sum"
    why: ClassVar[str] = "masks are taken of task vectors"
    scheduled_alike: ClassVar[bool] = True

    thresholds: tuple[float, ...]
    """One per input, at least 0."""
    least_masks: float
    """In how many masks an entry must be."""

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The sum, the number of masks, and both sides of a comparison."""
        return (inputs[0].dtype,) * 4

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A mask."""
        return Workspace(1)

    def settings(self) -> str:
        """Thresholds and how many masks."""
        text = listed(self.thresholds)
        return f"{text}; {self.least_masks:g} masks"
