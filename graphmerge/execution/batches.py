"""Small tensors of one pattern are worked on in batches: one turn at the engine for many of them.

A tensor that fits one tile and needs nothing but files has no state between tiles. All that tells
one from the next is what is read, so nodes are made for none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from graphmerge.execution.tiles import TileTask
from graphmerge.ops import LoadTensor
from graphmerge.schedule.executors import Executor

if TYPE_CHECKING:
    from graphmerge.graph import Output
    from graphmerge.schedule.plan import UnitPlan
    from graphmerge.schedule.units import Pass, Unit

MOST_TENSORS = 64
"""Most tensors of a batch. What one turn costs is then small beside what each tensor costs, and a
run that is killed loses no more than this many per worker."""


@frozen(eq=False)
class SmallTensor:
    """One tensor of a batch."""

    outputs: tuple[Output, ...]
    """Where it goes."""
    sources: tuple[LoadTensor, ...]
    """What is read for it, in the order of the program's loads."""


@frozen(eq=False)
class Batch:
    """Tensors that one program makes, each in one tile."""

    task: TileTask
    """The tile of any of them; its nodes are those of the pattern."""
    tensors: tuple[SmallTensor, ...]
    """One or more."""


def take_batch(waiting: list[UnitPlan], tile_elements: int) -> Batch | None:
    """Take small tensors of one pattern off the end of the list; None if there is none."""
    if not waiting or not _is_small(waiting[-1].unit, tile_elements):
        return None
    if _has_names(waiting[-1].unit):
        unit = waiting.pop().unit.bound()
        return _batch(unit.work.passes[0], [unit])
    work = waiting[-1].unit.work
    (part,) = work.passes
    most = max(1, min(MOST_TENSORS, tile_elements // max(part.numel, 1)))
    units: list[Unit] = []
    while waiting and len(units) < most and waiting[-1].unit.work is work:
        units.append(waiting.pop().unit)
    return _batch(part, units)


def _has_names(unit: Unit) -> bool:
    """Whether more tells the tensors of its pattern apart than what is read: masks, for example."""
    return unit.value is not None and bool(unit.value.tensors)


def _batch(part: Pass, units: list[Unit]) -> Batch:
    task = TileTask(part, 0, part.numel, frozenset(part.program.loads), {}, {})
    return Batch(task, tuple(SmallTensor(unit.outputs, _sources(unit, part)) for unit in units))


def _is_small(unit: Unit, tile_elements: int) -> bool:
    """Whether one tile of one pass makes the outputs from files, and nothing else."""
    work = unit.work
    if len(work.passes) != 1 or work.needs or work.makes:
        return False
    (part,) = work.passes
    return (
        0 < part.numel <= part.tile_elements(tile_elements)
        and part.executor is not Executor.TORCH
        and part.result is not None
        and not part.reductions
        and not part.prologue
        and all(isinstance(load.op, LoadTensor) for load in part.program.loads)
    )


def _sources(unit: Unit, part: Pass) -> tuple[LoadTensor, ...]:
    """What is read for a unit, where the pass speaks of another unit of the pattern."""
    ops = [load.op for load in part.program.loads]
    if unit.value is not None:
        own = dict(zip(unit.value.pattern.leaves, unit.value.leaves, strict=True))
        ops = [own.get(op, op) for op in ops]
    return tuple(op for op in ops if isinstance(op, LoadTensor))
