"""Which tensors are in which layer, and which come before and after the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.checkpoint.names import in_tower, split_block, words
from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from graphmerge.checkpoint.names import Block

_BEFORE_WORDS = frozenset({"wte", "wpe", "emb", "shared", "patch", "conv1", "conv2", "feature"})
_BEFORE_PARTS = ("embed", "project_in")
_AFTER_PARTS = ("embed_out", "output_embed")


@frozen
class LayerStack:
    """Layers that follow one another: `model.layers.0.` to `model.layers.31.`."""

    prefix: str
    """What stands before the index, with its dot: `model.layers.`."""
    count: int
    """Number of layers."""
    config_key: str
    """Where config.json has the count, with dots: `text_config.num_hidden_layers`; else empty."""


@frozen
class LayerPosition:
    """Where a tensor is in the layers."""

    stack: LayerStack
    """The stack that it is in."""
    index: int
    """Number of its layer, from 0 on."""
    suffix: str
    """Name inside the layer: `mlp.down_proj.weight`."""


@frozen
class LayerLayout:
    """The layers of a checkpoint."""

    stacks: tuple[LayerStack, ...]
    """One, or encoder and decoder; empty if no name has an index."""
    note: str = ""
    """What is odd, such as a config.json that disagrees with the names; empty if nothing is."""

    def locate(self, name: str) -> LayerPosition | None:
        """The place of a tensor in the layers; None if it lies outside them."""
        return self.locate_block(split_block(name))

    def locate_block(self, block: Block | None) -> LayerPosition | None:
        """The same for what `split_block` finds in the name."""
        if block is None:
            return None
        prefix, index, suffix = block
        for stack in self.stacks:
            if stack.prefix == prefix and index < stack.count:
                return LayerPosition(stack, index, suffix)
        return None

    def rename(self, name: str, new_index: int) -> str:
        """The name that a tensor has in another layer.

        Raises:
            ValueError: the tensor lies outside the layers.
        """
        position = self.locate(name)
        if position is None:
            raise ValueError(f"{name} is in no layer")
        return f"{position.stack.prefix}{new_index}.{position.suffix}"


def is_after_layers(name: str, layout: LayerLayout) -> bool:
    """Whether a tensor outside the layers follows them; else it precedes them.

    Before the layers come embeddings of every kind with their norms, and whatever feeds the
    language model: vision and audio towers, projectors, first convolutions. All else comes after
    them: final norms, heads, poolers, and the prediction layers beyond config.json's count.

    Args:
        name: a tensor that `layout.locate` does not find.
        layout: the layers of its checkpoint.
    """
    parts = split_block(name)
    if parts and any(stack.prefix == parts[0] for stack in layout.stacks):
        return True
    if in_tower(name) and not any(in_tower(stack.prefix) for stack in layout.stacks):
        return False
    if any(part in name for part in _AFTER_PARTS):
        return True
    return not (words(name) & _BEFORE_WORDS or any(part in name for part in _BEFORE_PARTS))
