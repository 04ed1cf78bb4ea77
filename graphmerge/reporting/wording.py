"""Words that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.output import layout_shards

if TYPE_CHECKING:
    from graphmerge.schedule.plan import Plan


def shard_count(plan: Plan, shard_bytes: int) -> int:
    """Number of safetensors files."""
    tensors = [(output.name, output.node.spec) for output in plan.graph.outputs]
    return len(layout_shards(tensors, max_shard_bytes=shard_bytes).shards)


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 shard`, `3 shards`, `2 passes`."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}" + ("" if number == 1 else plural)
