"""Sign consensus: the elementwise vote on a direction (TIES-Merging, arXiv 2306.01708)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from graphmerge.graph import Access, Fusion, Op, Space
from graphmerge.ops.checks import all_in, same_compute_spec

if TYPE_CHECKING:
    from collections.abc import Hashable

    from graphmerge.spec import DType, TensorSpec


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

    def structure(self) -> Hashable:
        """Whether weights are summed, which takes a scratch buffer more."""
        return (type(self), self.normalize)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec."""
        return same_compute_spec(inputs)

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Arithmetic in the loop."""
        return Fusion()

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta."""
        return all_in(Space.DELTA, inputs, "signs are elected among task vectors")

    def scratch(self, inputs: tuple[TensorSpec, ...]) -> tuple[DType, ...]:
        """The sign, one contribution, and the sum of weights when normalising."""
        return (inputs[0].dtype,) * (3 if self.normalize else 2)

    def settings(self) -> str:
        """Weights and normalisation."""
        text = ", ".join(f"{weight:g}" for weight in self.weights)
        return f"{text}; normalize" if self.normalize else text
