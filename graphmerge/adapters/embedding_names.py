"""Modules that are tables of rows: PEFT reads factors of them in another form than of layers."""

from __future__ import annotations

import re

_TABLE = re.compile(
    r"w[tp]e|shared|(\w+_)?(emb|embeds?|embeddings?|embedding_table|relative_attention_bias)"
    r"|embed_(\w+_)?(in|tokens|tokens_per_layer|positions|timestep|speaker)"
)
_LAYERS = (
    "patch_embed",
    "patch_embedding",
    "decoder_embed",
    "decoder_embeddings",
    "predictor_embeddings",
    "class_embed",
    "box_linear_embeddings",
    "xpath_unitseq2_embeddings",
    "relative_pos_embeddings",
)
"""Linear layers of transformers that are called like tables."""


def is_embedding(module: str) -> bool:
    """Whether a module is called like an embedding: of tokens, positions, types or distances."""
    name = module.rsplit(".", 1)[-1]
    return _TABLE.fullmatch(name) is not None and name not in _LAYERS
