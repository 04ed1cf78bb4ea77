"""What units of one structure have in common: what they hold, and what they read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.frozen_classes import frozen
from graphmerge.schedule.program import is_read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graphmerge.graph import Node
    from graphmerge.schedule.passes import Pass


@frozen(eq=False)
class UnitFacts:
    """What units of one structure have in common."""

    instructions: int
    """Instructions of all passes."""
    state_bytes: int
    """Bytes of the reductions' state and statistics, all passes together."""
    has_repeats: bool
    """Whether more than one pass reads some tensor of an input file."""
    repeated_bytes: int
    """Bytes of the tensors in input files that more than one pass reads."""
    loaded_bytes: int
    """Bytes of all tensors in input files that the unit reads, each counted once."""
    streamed_bytes: int
    """The same, each counted once per pass that reads it."""
    copied_again_bytes: int
    """What of the streamed bytes comes right after a first time from a file as it is stored there:
    not made in reading, and so no more than a copy out of the page cache."""
    shared_traffic_bytes: int
    """Bytes of results that other units stored, once per pass that reads them, and of the result
    that it stores. Inputs are stored, and read, as fast as kept ones."""


def file_reads(passes: Iterable[Pass], given: Iterable[Node]) -> Counter[Node]:
    """How many passes read each tensor that is in a file, and not in memory as `given` ones are."""
    in_memory = set(given)
    return Counter(load for part in passes for load in part.program.loads if load not in in_memory)


def unit_facts(passes: tuple[Pass, ...], needs: tuple[Node, ...], stored_bytes: int) -> UnitFacts:
    """Facts about the unit that has these passes."""
    states = sum(
        node.op.state_bytes(tuple(value.spec for value in node.inputs)) + node.spec.nbytes
        for part in passes
        for node in part.reductions
    )
    states += sum(node.spec.nbytes for part in passes for node in part.prologue)
    reads = file_reads(passes, needs)
    given = set(needs)
    loads = (load for part in passes for load in part.program.loads)
    shared = (load for load in loads if load in given and not is_read(load))
    return UnitFacts(
        instructions=sum(len(part.program.instructions) for part in passes),
        state_bytes=states,
        has_repeats=any(count > 1 for count in reads.values()),
        repeated_bytes=sum(load.spec.nbytes for load, count in reads.items() if count > 1),
        loaded_bytes=sum(load.spec.nbytes for load in reads),
        streamed_bytes=sum(load.spec.nbytes * count for load, count in reads.items()),
        copied_again_bytes=sum(
            load.spec.nbytes * (count - 1) for load, count in reads.items() if not load.inputs
        ),
        shared_traffic_bytes=stored_bytes + sum(load.spec.nbytes for load in shared),
    )


def facts_one_by_one(parts: Iterable[tuple[UnitFacts, int]], held_bytes: int) -> UnitFacts:
    """Facts about a unit that goes through tensors one by one and holds so much from the first.

    Those about a tensor come with how many there are like it.
    """
    found = tuple(parts)
    return UnitFacts(
        instructions=sum(count * part.instructions for part, count in found),
        has_repeats=any(part.has_repeats for part, _ in found),
        state_bytes=held_bytes + max((part.state_bytes for part, _ in found), default=0),
        repeated_bytes=sum(count * part.repeated_bytes for part, count in found),
        loaded_bytes=sum(count * part.loaded_bytes for part, count in found),
        streamed_bytes=sum(count * part.streamed_bytes for part, count in found),
        copied_again_bytes=sum(count * part.copied_again_bytes for part, count in found),
        shared_traffic_bytes=sum(count * part.shared_traffic_bytes for part, count in found),
    )
