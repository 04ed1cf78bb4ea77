"""Small tensors are worked on many at once: those of one work lie one behind the other in memory.

A tensor that fits one batch and needs nothing but files has no state between tiles, and mostly all
that tells it from the next of the same work is where it is read and written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import Op
from graphmerge.ops.sources import LoadTensor
from graphmerge.schedule.executors import Executor
from graphmerge.schedule.tiling import MOST_READ_ELEMENTS

if TYPE_CHECKING:
    from graphmerge.schedule.units import Work

MOST_TENSORS = 64
"""Most tensors of a batch. What one turn costs is then small beside what each tensor costs, and a
run that is killed loses no more than this many per worker."""


def batch_elements(tile_elements: int) -> int:
    """Most elements of a batch, where tiles have so many: its inputs are read as a whole."""
    return min(tile_elements, MOST_READ_ELEMENTS)


def is_small(work: Work, tile_elements: int) -> bool:
    """Whether one tile of one pass makes the outputs from files, and nothing else."""
    if len(work.passes) != 1 or work.needs or work.makes:
        return False
    (part,) = work.passes
    return (
        0 < part.numel <= part.tile_elements(batch_elements(tile_elements))
        and (part.executor is Executor.COPY or part.program.fused is not None)
        and part.result is not None
        and not part.reductions
        and not part.prologue
        and all(isinstance(load.op, LoadTensor) for load in part.program.loads)
    )


def has_names(work: Work) -> bool:
    """Whether names tell tensors of a work apart, as in random masks, and not just what is read."""
    ops = (item.node.op for part in work.passes for item in part.program.instructions)
    return any(type(op).for_tensors is not Op.for_tensors for op in ops)


def most_at_once(work: Work, tile_elements: int) -> int:
    """Most tensors of a work that lie one behind the other: no more elements than a batch has.

    None, if they are not small.
    """
    if not is_small(work, tile_elements):
        return 0
    if has_names(work):
        return 1
    most = batch_elements(tile_elements) // work.passes[0].numel
    return max(1, min(MOST_TENSORS, most))
