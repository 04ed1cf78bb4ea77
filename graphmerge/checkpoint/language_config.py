"""The parts of a config.json that speak of the language model, or of the only model there is."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from graphmerge.checkpoint.names import in_tower

if TYPE_CHECKING:
    from collections.abc import Iterator

_T = TypeVar("_T")


def language_sections(
    config: Mapping[str, Any], *, towers: bool = False
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The config and the objects inside it, outer ones first, without those of other towers.

    Args:
        config: config.json.
        towers: Instead, only what speaks of other towers.

    Yields:
        The path of a section, with a dot at its end (`text_config.`, empty for the config itself),
        and the section.
    """
    outer = {key: config[key] for key in config if in_tower(key)} if towers else config
    queue: deque[tuple[str, Mapping[str, Any]]] = deque([("", outer)])
    while queue:
        path, section = queue.popleft()
        yield path, section
        for key, value in section.items():
            if isinstance(value, Mapping) and (towers or not in_tower(key)):
                queue.append((f"{path}{key}.", value))


def language_values(config: Mapping[str, Any], key: str, kind: type[_T]) -> list[_T]:
    """The values of a key in every section where it is of this type, outer sections first."""
    found = [section.get(key) for _, section in language_sections(config)]
    return [value for value in found if type(value) is kind]
