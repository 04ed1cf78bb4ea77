"""Files for the tests of checkpoints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def write_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a file with the given header (text, or an object to turn into JSON) and data."""

    def write(header: Any, data: bytes = b"", name: str = "model.safetensors") -> Path:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        (tmp_path / name).write_bytes(len(text).to_bytes(8, "little") + text + data)
        return tmp_path / name

    return write
