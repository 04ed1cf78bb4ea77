"""Averages of models by the importance of each entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Node, Op, Space
from graphmerge.ops.checks import all_in, same_compute_spec
from graphmerge.ops.wording import listed

if TYPE_CHECKING:
    from collections.abc import Hashable

    from graphmerge.spec import DType, TensorSpec


@frozen(cache_hash=True)
class FisherAverage(Op):
    """sum_i c_i f_i x_i / sum_i c_i f_i entry by entry, f_i = max(F_i, floor); arXiv 2111.09832.

    Inputs are the models x_i, their diagonal Fisher matrices F_i, and, if `has_norms`, a statistic
    with the squared norm of each whole F_i. c_i is weights[i], over the norm where there are norms;
    a norm of zero counts as one. Computed as x_1 + sum_i c_i f_i (x_i - x_1) / sum_i c_i f_i, so
    that what is equal in all models stays as it is.
    """

    kind: ClassVar[str] = "fisher-average"
    access: ClassVar[Access] = Access.ELEMENTWISE

    weights: tuple[float, ...]
    """One per model, none negative, one above 0."""
    floor: float
    """Least importance, above 0."""
    has_norms: bool
    """Whether a last input has squared norms."""

    def structure(self) -> Hashable:
        """What the inputs are."""
        return (type(self), self.has_norms)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec."""
        return same_compute_spec(inputs[: 2 * len(self.weights)])

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Arithmetic in the loop."""
        return Fusion()

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A weight."""
        count = 2 * len(self.weights)
        all_in(Space.STATISTIC, inputs[count:], "norms are a statistic")
        return all_in(Space.WEIGHT, inputs[:count], "models are averaged by checkpoints of Fisher")

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """An importance, the sum of all, and a difference of models."""
        return (inputs[0].dtype,) * 3

    def simplified(self, node: Node) -> Node:
        """One model alone is that model."""
        return node.inputs[0] if len(self.weights) == 1 else node

    def settings(self) -> str:
        """Weights and floor."""
        text = listed(self.weights)
        return f"{text}; floor {self.floor:g}"
