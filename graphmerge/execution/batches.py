"""Small tensors are worked on in batches: one turn at the engine for many of them.

Those of one work lie one behind the other and are made by one call. All that tells one from the
next is what is read, so nodes are made for none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.execution.tiles import TileTask
from graphmerge.frozen_classes import frozen
from graphmerge.ops.sources import LoadTensor
from graphmerge.schedule.batching import MOST_TENSORS, batch_elements, has_names, is_small

if TYPE_CHECKING:
    from graphmerge.graph import Node, Output
    from graphmerge.schedule.plan import UnitPlan
    from graphmerge.schedule.units import Unit


@frozen(eq=False)
class Stack:
    """Tensors that one program makes, each in one tile, lying one behind the other."""

    task: TileTask
    """Work on all of them; its nodes are those of the pattern."""
    outputs: tuple[tuple[Output, ...], ...]
    """Where each of them goes."""
    sources: tuple[tuple[LoadTensor, ...], ...]
    """For each load of the program what is read for each tensor."""


@frozen(eq=False)
class Batch:
    """What a worker takes at once."""

    stacks: tuple[Stack, ...]
    """One or more."""


def take_batch(waiting: list[UnitPlan], tile_elements: int) -> Batch | None:
    """Take small tensors off the end of the list, as many as a batch has; None if there is none."""
    most = batch_elements(tile_elements)
    alike: dict[int, list[Unit]] = {}
    count = elements = 0
    work, numel, is_named = None, 0, False
    while waiting and count < MOST_TENSORS:
        unit = waiting[-1].unit
        if unit.work is not work:
            work = unit.work
            if not is_small(work, tile_elements):
                break
            numel, is_named = work.passes[0].numel, has_names(work)
        if count and elements + numel > most:
            break
        waiting.pop()
        if is_named:
            alike[id(unit)] = [unit.bound()]
        else:
            alike.setdefault(id(work), []).append(unit)
        count, elements = count + 1, elements + numel
    return Batch(tuple(map(_stack, alike.values()))) if alike else None


def _stack(units: list[Unit]) -> Stack:
    (part,) = units[0].work.passes
    loads = part.program.loads
    task = TileTask(part, 0, part.numel, frozenset(loads), {}, {}, len(units), is_stack=True)
    pattern = next((unit.value.pattern for unit in units if unit.value), None)
    places = {leaf: place for place, leaf in enumerate(pattern.leaves if pattern else ())}
    return Stack(
        task,
        tuple(unit.outputs for unit in units),
        tuple(_sources(load, places.get(load.op), units) for load in loads),
    )


def _sources(load: Node, place: int | None, units: list[Unit]) -> tuple[LoadTensor, ...]:
    """What is read for each unit where the pass speaks of a load of the first of the pattern."""
    ops = [
        load.op if place is None or unit.value is None else unit.value.leaves[place]
        for unit in units
    ]
    return tuple(op for op in ops if isinstance(op, LoadTensor))
