"""What a method may ask of the one tensor that it builds.

What it builds then holds for every tensor of the same shapes and parameters that gives the same
answers, so that tensors need not be told apart by all of their name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Hashable


@frozen
class Tensor:
    """What tells an output tensor from others."""

    name: str
    """Its name."""
    layer: int | None = None
    """Number of the output's layer that it is in; None outside the layers."""
    layers: int = 0
    """How many layers the output has, if it is in one."""


class Question(ABC):
    """Something to ask of a tensor; questions that are equal have the same answer."""

    @abstractmethod
    def of(self, tensor: Tensor) -> Hashable:
        """The answer."""


@frozen
class InLayer(Question):
    """Which layer the tensor is in, and of how many."""

    def of(self, tensor: Tensor) -> tuple[int | None, int]:
        """Number of the layer, None outside, and how many the output has."""
        return tensor.layer, tensor.layers


@frozen
class HasInName(Question):
    """Whether one of some parts is in the tensor's name."""

    parts: tuple[str, ...]
    """Parts of names."""

    def of(self, tensor: Tensor) -> bool:
        """Whether one is."""
        return any(part in tensor.name for part in self.parts)
