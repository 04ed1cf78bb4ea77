"""Sequences of which nothing is made until somebody asks for one of its values."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

Item = TypeVar("Item")


class MadeLate(Sequence[Item]):
    """A sequence of which all values are made when the first is asked for."""

    @property
    @abstractmethod
    def _all(self) -> tuple[Item, ...]:
        """Every value; to be kept by the class that makes them."""

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        return self._all[index]
