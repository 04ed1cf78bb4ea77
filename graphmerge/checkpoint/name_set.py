"""The tensor names of a checkpoint, and what names alone say, worked out once for equal ones.

Most models of a merge have the same tensors, and most tensors of a model have names that differ in
whole numbers only: there are some ten kinds of names.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from graphmerge.checkpoint.names import Block, natural_sorted, split_block
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_DIGITS_TO_ZERO = str.maketrans("123456789", "000000000")
_PARTIAL_NUMBER = re.compile(r"[^./0]0|0[^./0]")
"""Digits that are not all of a segment, as in `conv1`: these may tell words apart."""
_WHOLE_NUMBER = re.compile(r"(?<![^./])[0-9]+(?![^./])")


@frozen(eq=False, slots=False)
class NameSet:
    """Names in some order, each once."""

    names: tuple[str, ...]
    """The names."""

    @cached_property
    def _kinds(self) -> tuple[str, ...]:
        """For every name what names of its kind share."""
        masked = [name.translate(_DIGITS_TO_ZERO) for name in self.names]
        partial = {kind for kind in set(masked) if _PARTIAL_NUMBER.search(kind)}
        if partial:
            pairs = zip(masked, self.names, strict=True)
            masked = [
                _WHOLE_NUMBER.sub("0", name) if kind in partial else kind for kind, name in pairs
            ]
        return tuple(masked)

    @cached_property
    def _examples(self) -> Mapping[str, str]:
        """A name of every kind."""
        return dict(zip(self._kinds, self.names, strict=True))

    @cached_property
    def blocks(self) -> tuple[Block | None, ...]:
        """What `split_block` finds in every name."""
        return tuple(map(split_block, self.names))

    @cached_property
    def outside(self) -> NameSet:
        """The names without a block."""
        pairs = zip(self.names, self.blocks, strict=True)
        return NameSet(tuple(name for name, block in pairs if block is None))

    @cached_property
    def indexes(self) -> Mapping[str, list[int]]:
        """The numbers of blocks by what stands before them, one for every name that has one."""
        found: dict[str, list[int]] = {}
        for prefix, index, _ in filter(None, self.blocks):
            found.setdefault(prefix, []).append(index)
        return found

    def matching(self, holds: Callable[[str], bool]) -> tuple[str, ...]:
        """The names for which it holds; it must not depend on segments that are whole numbers."""
        wanted = {kind for kind, example in self._examples.items() if holds(example)}
        if not wanted:
            return ()
        pairs = zip(self._kinds, self.names, strict=True)
        return tuple(name for kind, name in pairs if kind in wanted)


_known: WeakValueDictionary[tuple[str, ...], NameSet] = WeakValueDictionary()
_ordered: WeakValueDictionary[tuple[str, ...], NameSet] = WeakValueDictionary()
"""Those in use, by their names, and by their names in another order."""


def name_set(names: Iterable[str]) -> NameSet:
    """These names in their order."""
    key = tuple(names)
    found = _known.get(key)
    if found is None:
        found = _known[key] = NameSet(key)
    return found


def natural_name_set(names: Iterable[str]) -> NameSet:
    """These names in an order that puts `layers.2` before `layers.10`."""
    key = tuple(names)
    found = _ordered.get(key)
    if found is None:
        found = _ordered[key] = name_set(natural_sorted(key))
    return found
