"""What elementwise ops on tensors of one spec have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.graph import Access, Fusion, Op, Space
from graphmerge.ops.checks import all_in, same_compute_spec

if TYPE_CHECKING:
    from graphmerge.spec import TensorSpec


class AbstractEntrywise(Op):
    """Maps tensors of one spec to one, entry by entry, with native code in the loop."""

    access: ClassVar[Access] = Access.ELEMENTWISE

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec."""
        return same_compute_spec(inputs)

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Arithmetic in the loop."""
        return Fusion()


class OfDeltas(AbstractEntrywise):
    """Maps task vectors to one, entry by entry."""

    why: ClassVar[str]
    """Why inputs must be task vectors, for messages."""

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        return all_in(Space.DELTA, inputs, self.why)
