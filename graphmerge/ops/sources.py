"""Where values come from: stored tensors, and what passes their bytes on as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from graphmerge.errors import CheckpointError, GraphError, Problem
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Fusion, Op, Space
from graphmerge.ops.checks import shared_space

if TYPE_CHECKING:
    from graphmerge.checkpoint.values import TensorEntry
    from graphmerge.spec import TensorSpec


@frozen
class LoadTensor(Op):
    """A stored tensor, in its stored dtype."""

    kind: ClassVar[str] = "load-tensor"
    access: ClassVar[Access] = Access.ELEMENTWISE
    scheduled_alike: ClassVar[bool] = True

    model: str
    """Model as the recipe refers to it."""
    entry: TensorEntry
    """Where the bytes are."""

    def __hash__(self) -> int:
        """By names alone, as there are many; nearly always only equal ones share them."""
        return hash((self.model, self.entry.name))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The stored spec."""
        return self.entry.spec

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A stored tensor is a weight."""
        return Space.WEIGHT

    def settings(self) -> str:
        """Model and tensor name."""
        return f"{self.model}:{self.entry.name}"


@frozen(cache_hash=True)
class StackLayer(Op):
    """A layer's tensor put at another place in the stack of layers; the value is unchanged."""

    kind: ClassVar[str] = "stack-layers"
    access: ClassVar[Access] = Access.ELEMENTWISE
    in_place: ClassVar[bool] = True
    scheduled_alike: ClassVar[bool] = True

    source_layer: int
    """Number of the layer in its model."""
    layer: int
    """Number of the layer in the output."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """Unchanged."""
        return inputs[0]

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """Unchanged."""
        return inputs[0]

    def settings(self) -> str:
        """From which layer to which."""
        return f"{self.source_layer} -> {self.layer}"


@frozen(cache_hash=True)
class RequireIdentical(Op):
    """The first input, after checking that every other one has the same bytes.

    For integer tensors, on which no merge arithmetic has a meaning. The kernel raises
    CheckpointError.
    """

    kind: ClassVar[str] = "require-identical"
    access: ClassVar[Access] = Access.ELEMENTWISE
    in_place: ClassVar[bool] = True
    scheduled_alike: ClassVar[bool] = True

    tensor: str
    """Tensor name, for the message."""

    def difference(self) -> CheckpointError:
        """The error to raise where inputs differ."""
        return CheckpointError(
            Problem(
                "an integer tensor differs between the models, and integers cannot be merged",
                f"tensor {self.tensor}",
                hint="set dtype: to cast it, or make the models agree",
            )
        )

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The one spec of all inputs."""
        for spec in inputs[1:]:
            if spec != inputs[0]:
                raise GraphError(Problem("specs differ", got=str(spec), wanted=str(inputs[0])))
        return inputs[0]

    def fusion(self, inputs: tuple[TensorSpec, ...]) -> Fusion | None:
        """Comparison in the loop."""
        return Fusion()

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """Unchanged."""
        return shared_space(inputs)
