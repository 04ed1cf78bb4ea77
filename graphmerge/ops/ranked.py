"""Dropping entries at random, the smaller ones of a row sooner (DELLA, arXiv 2406.11617)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from graphmerge.graph import Access, Op, Space, Workspace
from graphmerge.ops.checks import all_in, same_compute_spec
from graphmerge.ops.sparsify import BITS_DTYPE, MaskKey

if TYPE_CHECKING:
    from collections.abc import Hashable

    from graphmerge.spec import DType, TensorSpec


@frozen(cache_hash=True)
class RankedDrop(Op):
    """Each entry kept with a probability by its rank in its row, zero otherwise; no rescaling.

    With magnitudes ranked upwards from 0 to n - 1 (ties by flat index) it is
    density - epsilon + 2 epsilon rank / (n - 1), and density in rows of one entry.
    """

    kind: ClassVar[str] = "sparsify"
    access: ClassVar[Access] = Access.ROWS
    in_place: ClassVar[bool] = True

    density: float
    """Mean probability of keeping an entry."""
    epsilon: float
    """How far probabilities are from the mean at most; density +- epsilon lies within 0 and 1."""
    key: MaskKey
    """What the draws depend on, beside the flat index."""

    def structure(self) -> Hashable:
        """The class: settings are numbers."""
        return type(self)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Unchanged."""
        return same_compute_spec(inputs)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        return all_in(Space.DELTA, inputs, "only task vectors are sparsified")

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The magnitude's bits."""
        return (BITS_DTYPE[inputs[0].dtype],)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """Sorting keys with places, limits by rank and by place, random bytes, masks; tables."""
        row = inputs[0].shape[-1] if inputs[0].shape else 1
        return Workspace(48, fixed_bytes=48 * row)

    def settings(self) -> str:
        """Kind of sparsification, density and epsilon."""
        return f"ranked, density={self.density:g}, epsilon={self.epsilon:g}"
