"""Find the layers of a model from its tensor names and config.json, without architecture files.

A block list is all names that share a prefix before their outermost number: `model.layers.N.` (the
experts inside are part of a layer). The layers are the block list as long as config.json says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphmerge.checkpoint.layer_counts import ROLES, LayerCount, layer_counts, role_of
from graphmerge.checkpoint.layer_layout import LayerLayout, LayerStack
from graphmerge.checkpoint.name_set import NameSet, name_set
from graphmerge.checkpoint.names import in_tower, words
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LANGUAGE_WORDS = frozenset({"language", "llm", "text", "lm", "thinker"})


@frozen
class _BlockList:
    prefix: str
    indexes: frozenset[int]
    tensors: int

    @property
    def length(self) -> int:
        return max(self.indexes) + 1

    @property
    def has_gap(self) -> bool:
        return len(self.indexes) < self.length

    def own_counts(self, counts: list[LayerCount]) -> list[LayerCount]:
        """The counts that can be meant for this list: an encoder's for an encoder, and so on."""
        role = role_of(self.prefix)
        own = [count for count in counts if count.role == role]
        return own or [count for count in counts if not count.role] or counts


def find_layers(
    names: Iterable[str], config: Mapping[str, Any], *, towers: bool = False
) -> LayerLayout:
    """The layers of a checkpoint.

    Towers (vision, audio) count only if there is nothing else. Among block lists whose length
    config.json states, those without gaps come first, then those of a language model, then the one
    with most tensors, then the shallowest. An encoder-decoder model has two stacks.

    Args:
        names: every tensor name.
        config: config.json; may be empty.
        towers: The names are those of a tower: believe what config.json says of towers.
    """
    blocks = _block_lists(name_set(names))
    blocks = [block for block in blocks if not in_tower(block.prefix)] or blocks
    counts = layer_counts(config, towers=towers)
    groups = [[block for block in blocks if role_of(block.prefix) == role] for role in ROLES]
    if not all(groups) or not _has_two_stacks(config, counts):
        groups = [blocks]
    found = [_stack(_best(group, counts), counts) for group in groups if group]
    if not found:
        return LayerLayout((), "no tensor name has a layer number")
    stacks, notes = zip(*found, strict=True)
    return LayerLayout(stacks, "; ".join(note for note in notes if note))


def _block_lists(names: NameSet) -> list[_BlockList]:
    return [
        _BlockList(prefix, frozenset(found), len(found)) for prefix, found in names.indexes.items()
    ]


def _has_two_stacks(config: Mapping[str, Any], counts: list[LayerCount]) -> bool:
    states_it = config.get("is_encoder_decoder") is True
    return states_it or not counts or any(count.role == "decoder" for count in counts)


def _best(blocks: list[_BlockList], counts: list[LayerCount]) -> _BlockList:
    def rank(block: _BlockList) -> tuple[bool, bool, bool, int, int, str]:
        return (
            not any(count.fits(block.length) for count in block.own_counts(counts)),
            block.has_gap,
            not words(block.prefix) & _LANGUAGE_WORDS,
            -block.tensors,
            block.prefix.count("."),
            block.prefix,
        )

    return min(blocks, key=rank)


def _stack(block: _BlockList, counts: list[LayerCount]) -> tuple[LayerStack, str]:
    """The stack of a block list, and a note if something about it is odd."""
    prefix, length = block.prefix, block.length
    if block.has_gap:
        missing = next(index for index in range(length) if index not in block.indexes)
        note = f"no tensor is in {prefix}{missing}"
    else:
        note = ""
    own = block.own_counts(counts)
    if not own:
        note = note or f"config.json states no number of layers; {prefix} has {length}"
        return LayerStack(prefix, length, ""), note
    count = next((count for count in own if count.fits(length)), None)
    if count is None:
        wrong = f"config.json says {own[0].key} = {own[0].value}, but {prefix} has {length} layers"
        return LayerStack(prefix, length, own[0].key), wrong
    if count.value < length:
        note = f"{prefix}{count.value} and on predict further tokens and count as after the layers"
    return LayerStack(prefix, count.value, count.key), note
