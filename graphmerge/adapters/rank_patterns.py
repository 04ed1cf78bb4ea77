"""The ranks of an adapter's modules as PEFT reads them: a default, and patterns of names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def rank_pattern(ranks: Mapping[str, int], most: int) -> dict[str, int]:
    """`rank_pattern` of adapter_config.json, whose first key that a name ends with counts.

    So longer names come first, and modules of the default rank are listed where the key of
    another module is the end of their names.

    Args:
        ranks: The rank of every module.
        most: The default, `r`.
    """
    lower = {module for module, rank in ranks.items() if rank != most}
    listed = [module for module in ranks if module in lower or _has_end_in(module, lower)]
    return {module: ranks[module] for module in sorted(listed, key=len, reverse=True)}


def _has_end_in(module: str, others: set[str]) -> bool:
    segments = module.split(".")
    return any(".".join(segments[start:]) in others for start in range(1, len(segments)))
