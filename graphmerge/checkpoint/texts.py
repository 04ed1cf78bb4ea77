"""Memory that the texts of checkpoints take: config.json, and what headers hold beside tensors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from graphmerge.checkpoint.header_columns import Columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graphmerge.checkpoint.values import Checkpoint

_OF_CONFIG = 12
"""Bytes for each one of config.json as compact JSON: read, held, and changed and written anew.
Measured on four models with the names of 300,000 labels each, twice: 466 MiB of 42."""
_OF_METADATA = 3
"""The same for `__metadata__`: 187 MiB of 115 for few long texts, 185 of 76 for many short ones."""


def text_bytes(checkpoints: Iterable[Checkpoint]) -> int:
    """Memory of the texts of checkpoints, equal headers counted once."""
    listed = list(checkpoints)
    configs = sum(len(json.dumps(dict(one.config))) for one in listed)
    shared = (part for one in listed for part in one.shared if isinstance(part, Columns))
    metadata = sum(
        len(key) + len(str(value))
        for columns in dict.fromkeys(shared)
        for key, value in columns.metadata.items()
    )
    return _OF_CONFIG * configs + _OF_METADATA * metadata
