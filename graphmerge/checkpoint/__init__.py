"""Read what checkpoints say of themselves in headers and config.json, never their weights."""

from graphmerge.checkpoint.fingerprint import fingerprint
from graphmerge.checkpoint.header import Header, parse_header, read_header
from graphmerge.checkpoint.layer_layout import (
    LayerLayout,
    LayerPosition,
    LayerStack,
    is_after_layers,
)
from graphmerge.checkpoint.layers import find_layers
from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.checkpoint.values import Checkpoint, TensorEntry
from graphmerge.checkpoint.vocabulary import find_embeddings, tied_head

__all__ = [
    "Checkpoint",
    "Header",
    "LayerLayout",
    "LayerPosition",
    "LayerStack",
    "TensorEntry",
    "find_embeddings",
    "find_layers",
    "fingerprint",
    "is_after_layers",
    "parse_header",
    "read_checkpoint",
    "read_header",
    "tied_head",
]
