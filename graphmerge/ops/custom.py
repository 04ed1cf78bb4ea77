"""Ops whose kernel is a function that somebody else has written: what plug-ins bring."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from attrs import field

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Op, Space, Workspace
from graphmerge.ops.checks import same_compute_spec, shared_space

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from graphmerge.spec import TensorSpec

TensorFunction: TypeAlias = "Callable[..., Any]"
"""Maps a list of tensors of one shape, and named parameters, to a tensor of that shape."""
WorkspaceOf: TypeAlias = "Callable[[Custom, tuple[TensorSpec, ...]], Workspace]"
"""Says what a function allocates beside its inputs, for inputs of these specs."""

REPORT_IT = "report it to the author of the plug-in"
"""What to do about a function that fails."""


def told(error: BaseException) -> str:
    """What code that somebody else has written raised, in one line."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 - its __str__ is somebody else's, too
        lines = []
    first = next(iter(lines), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def place_of(function: object, error: BaseException | None = None) -> str:
    """Where a function that somebody else has written is, for messages.

    Args:
        function: The function.
        error: What it raised: then the line in its file is told, too.
    """
    name = getattr(function, "__qualname__", type(function).__name__)
    code = getattr(function, "__code__", None)
    if code is None:
        return f"function {name}"
    frames = traceback.extract_tb(error.__traceback__) if error else []
    lines = [frame.lineno for frame in frames if frame.filename == code.co_filename]
    return f"function {name} in {code.co_filename}" + (f", line {lines[-1]}" if lines else "")


@frozen(cache_hash=True)
class Custom(Op):
    """function([x_1, ..., x_n], **arguments), tensors as large as the access pattern says."""

    kind: ClassVar[str] = "custom"

    name: str
    """Name of the method that it belongs to."""
    function: TensorFunction
    """What is computed."""
    arguments: tuple[tuple[str, Hashable], ...]
    """Named parameters; lists as tuples."""
    workspace_of: WorkspaceOf = field(eq=False, repr=False)
    """What it allocates, result included."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """The common spec."""
        return same_compute_spec(inputs)

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """The common space."""
        return shared_space(inputs)

    def workspace(self, inputs: tuple[TensorSpec, ...]) -> Workspace:
        """What the function allocates."""
        return self.workspace_of(self, inputs)

    def settings(self) -> str:
        """Name and parameters."""
        shown = [f"{name}={value}" for name, value in self.arguments]
        return ", ".join([self.name, *shown])


@frozen(cache_hash=True)
class CustomWhole(Custom):
    """A function of whole tensors."""

    access: ClassVar[Access] = Access.WHOLE


@frozen(cache_hash=True)
class CustomRows(Custom):
    """A function of any number of whole rows, shape (rows, row length)."""

    access: ClassVar[Access] = Access.ROWS


@frozen(cache_hash=True)
class CustomElementwise(Custom):
    """A function of any number of elements, shape (elements,)."""

    access: ClassVar[Access] = Access.ELEMENTWISE


CUSTOM_OPS: dict[str, type[Custom]] = {
    "whole": CustomWhole,
    "rows": CustomRows,
    "elementwise": CustomElementwise,
}
"""By the name that a plug-in's author gives its access pattern."""
