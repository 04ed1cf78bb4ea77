"""What the model card of an input says about it: the front matter of README.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from graphmerge.checkpoint.own_files import CARD_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


def card_files(folder: Path) -> tuple[Path, ...]:
    """The model card, if there is one."""
    return tuple(file for file in (folder / CARD_NAME,) if file.exists())


def read_card(folder: Path) -> Mapping[str, Any]:
    """The front matter; empty where there is none that can be read, as nothing depends on it."""
    try:
        found = _FRONT_MATTER.match((folder / CARD_NAME).read_text(encoding="utf-8"))
        content = yaml.safe_load(found[1]) if found else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
