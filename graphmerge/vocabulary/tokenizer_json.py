"""Read a tokenizer.json for its tokens alone: the merges, half of the file, are left out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from graphmerge.checkpoint.access import parse_json_object, read_bytes
from graphmerge.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

_BEGIN = re.compile(rb'"merges"\s*:\s*\[')
"""Nothing else looks so: ids follow tokens that are called like it, and texts have \\" for "."""
_END = re.compile(rb"\]\s*\}\s*\}\s*\Z")
"""The end of a file whose last list is that of the merges, as the tokenizers library writes it."""
_TAIL_BYTES = 256


def read_tokens_of(path: Path) -> dict[str, Any]:
    """The content of a tokenizer.json, perhaps without its merges.

    Raises:
        CheckpointError: the file is not JSON, or no object.
        MachineError: the file cannot be read.
    """
    data = read_bytes(path)
    shorter = _without_merges(data)
    if shorter is not None:
        try:
            content = parse_json_object(shorter, path)
        except CheckpointError:
            return parse_json_object(data, path)
        if "added_tokens" in content and "vocab" in (content.get("model") or {}):
            return content
    return parse_json_object(data, path)


def _without_merges(data: bytes) -> bytes | None:
    """The text without its merges; None if they are not where they are looked for.

    What lies between the beginning of the merges and the end of the file may hold other keys, if
    another program has written it: then the caller finds that some are missing.
    """
    begin = _BEGIN.search(data)
    end = _END.search(data, max(len(data) - _TAIL_BYTES, 0))
    if begin is None or end is None or begin.end() > end.start():
        return None
    return data[: begin.end()] + data[end.start() :]
