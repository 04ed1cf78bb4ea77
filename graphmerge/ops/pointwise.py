"""Elementwise rules for a few models with roles: how far each entry goes from one to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Space, Workspace
from graphmerge.ops.checks import all_in
from graphmerge.ops.elementwise import AbstractEntrywise

if TYPE_CHECKING:
    from graphmerge.spec import DType, TensorSpec


class AbstractPointwise(AbstractEntrywise):
    """An entry of each weight in, an entry of a weight out."""

    scheduled_alike: ClassVar[bool] = True

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A weight."""
        return all_in(Space.WEIGHT, inputs, f"{self.kind} takes models")

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """A mask."""
        return Workspace(1)


@frozen(cache_hash=True)
class NearSwap(AbstractPointwise):
    """b + w (x - b), of inputs (b, x), with w = min(max(t / max(|x - b|, least), 0), 1)."""

    kind: ClassVar[str] = "near-swap"

    t: float
    """Entries this near are swapped."""
    least: float = 1e-6
    """Least distance that is divided by."""

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The difference."""
        return (inputs[0].dtype,)

    def settings(self) -> str:
        """The distance."""
        return f"t={self.t:g}"


@frozen(cache_hash=True)
class TrainDifference(AbstractPointwise):
    """a + (b - c) m, of inputs (a, b, c).

    With m = factor |b - a| / (|b - a| + |b - c|), where 0 / 0 is 0.
    """

    kind: ClassVar[str] = "train-difference"

    factor: float
    """What the share is multiplied by."""

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The two distances."""
        return (inputs[0].dtype,) * 2

    def settings(self) -> str:
        """The factor."""
        return f"{self.factor:g}"
