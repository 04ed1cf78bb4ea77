"""Casts, differences, sums and scalings: the elementwise arithmetic of merges."""

from __future__ import annotations

from typing import ClassVar

from attrs import field

from graphmerge.errors import GraphError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Node, Op, Space, make_node
from graphmerge.ops.checks import all_in, require_divisor, shared_space, within_float32
from graphmerge.ops.elementwise import AbstractEntrywise
from graphmerge.ops.wording import listed
from graphmerge.spec import DType, TensorSpec

WIDER = {
    DType.BF16: (DType.F32, DType.F64),
    DType.F16: (DType.F32, DType.F64),
    DType.F32: (DType.F64,),
}
"""Dtypes that hold every value of a dtype exactly."""


@frozen(cache_hash=True)
class Cast(Op):
    """The same values in another dtype, rounded to nearest even."""

    kind: ClassVar[str] = "cast"
    access: ClassVar[Access] = Access.ELEMENTWISE
    scheduled_alike: ClassVar[bool] = True

    dtype: DType
    """Dtype of the result."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The input's shape in the new dtype."""
        source = inputs[0].dtype
        if not (source.is_mergeable_float or source.is_integer):
            raise GraphError(
                Problem(
                    "this dtype cannot be cast",
                    got=source.value,
                    wanted="F16, BF16, F32, F64 or an integer",
                    hint="dequantise the checkpoint first",
                )
            )
        return inputs[0].with_dtype(self.dtype)

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Arithmetic in the loop, towards floats."""
        return Fusion() if self.dtype.is_mergeable_float else None

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """Unchanged."""
        return shared_space(inputs)

    def simplified(self, node: Node) -> Node:
        """A cast to the dtype at hand, or to a wider dtype and back, changes nothing."""
        (source,) = node.inputs
        if source.spec.dtype is self.dtype:
            return source
        if isinstance(source.op, Cast):
            (origin,) = source.inputs
            if origin.spec.dtype is self.dtype and source.op.dtype in WIDER.get(self.dtype, ()):
                return origin
        return node

    def settings(self) -> str:
        """Target dtype."""
        return self.dtype.value


def weighted(weights: tuple[float, ...], *, normalize: bool) -> WeightedSum:
    """sum_i w_i x_i, divided by sum_i w_i if `normalize`. Raises GraphError where that is zero."""
    if not normalize:
        return WeightedSum(weights)
    require_divisor(weights, sum(weights), setting="normalize")
    scaled = within_float32(weights)
    return WeightedSum(scaled, sum(scaled))


def in_dtype(dtype: DType, node: Node) -> Node:
    """The node, cast where it has another dtype."""
    return node if node.spec.dtype is dtype else make_node(Cast(dtype), node)


@frozen(cache_hash=True)
class TaskVector(AbstractEntrywise):
    """model - base, of inputs (model, base)."""

    kind: ClassVar[str] = "task-vector"
    in_place: ClassVar[bool] = True
    scheduled_alike: ClassVar[bool] = True

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A delta, from two weights."""
        all_in(Space.WEIGHT, inputs, "a task vector is the difference of two weights")
        return Space.DELTA


@frozen(cache_hash=True)
class WeightedSum(AbstractEntrywise):
    """sum_i weights[i] * x_i / divisor, added in the order of the inputs."""

    kind: ClassVar[str] = "weighted-sum"
    in_place: ClassVar[bool] = True
    scheduled_alike: ClassVar[bool] = True

    weights: tuple[float, ...]
    """One weight per input."""
    divisor: float = field(default=1.0)
    """What the sum is divided by; never zero, nor what rounding leaves of zero."""

    @divisor.validator
    def _not_zero(self, _attribute: object, value: float) -> None:
        if value != 1:  # which divides nothing, however large the weights are
            require_divisor(self.weights, value, setting="normalize")

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """The common space. Weights need not sum to one: `normalize: false` allows any."""
        return shared_space(inputs)

    def simplified(self, node: Node) -> Node:
        """One input whose weight is divided away is that input."""
        return node.inputs[0] if self.weights == (self.divisor,) else node

    def settings(self) -> str:
        """Weights, and the divisor if there is one."""
        text = listed(self.weights)
        return text if self.divisor == 1 else f"{text}; / {self.divisor:g}"


@frozen(cache_hash=True)
class Scale(AbstractEntrywise):
    """factor * x."""

    kind: ClassVar[str] = "scale"
    in_place: ClassVar[bool] = True
    scheduled_alike: ClassVar[bool] = True

    factor: float
    """What every element is multiplied by."""

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """Unchanged."""
        return shared_space(inputs)

    def settings(self) -> str:
        """The factor."""
        return f"{self.factor:g}"


@frozen(cache_hash=True)
class AddDelta(AbstractEntrywise):
    """base + scale * delta, of inputs (base, delta)."""

    kind: ClassVar[str] = "add-delta"
    in_place: ClassVar[bool] = True
    scheduled_alike: ClassVar[bool] = True

    scale: float = 1.0
    """lambda of the task-vector methods."""

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A weight, from a weight and a delta."""
        if inputs != (Space.WEIGHT, Space.DELTA):
            got = ", ".join(value.value for value in inputs)
            raise GraphError(
                Problem("a delta is added to a weight", got=got, wanted="weight, delta")
            )
        return Space.WEIGHT

    def settings(self) -> str:
        """The scale."""
        return f"{self.scale:g}"
