"""Words that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.output.layout import group_tensors

if TYPE_CHECKING:
    from graphmerge.schedule.plan import Plan


def shard_count(plan: Plan, shard_bytes: int) -> int:
    """Number of safetensors files."""
    tensors = [(output.name, output.spec) for output in plan.graph.outputs]
    return len(group_tensors(tensors, max_shard_bytes=shard_bytes))


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 shard`, `3 shards`, `2 passes`."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}" + ("" if number == 1 else plural)
