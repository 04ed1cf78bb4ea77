"""The steps of a unit: its passes, and the frees after the last use of each value."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from graphmerge.graph import Node
    from graphmerge.schedule.units import Unit


@frozen(eq=False)
class RunPass:
    """Stream one pass of the unit."""

    index: int
    """Which pass."""


@frozen(eq=False)
class Free:
    """Let go of values after their last use in the unit: kept inputs, stored tensors, statistics.

    What other units need, too, is freed when the last of them lets go of it.
    """

    values: tuple[Node, ...]
    """What is let go."""


Step: TypeAlias = "RunPass | Free"


def steps_of(unit: Unit, kept: tuple[Node, ...]) -> tuple[Step, ...]:
    """Passes in order, each followed by the free of what no later pass of the unit reads."""
    held = {*kept, *unit.needs}
    last: dict[Node, int] = {}
    for index, part in enumerate(unit.passes):
        for load in part.program.loads:
            if load in held:
                last[load] = index
        for statistic in _statistics_read(unit, index):
            last[statistic] = index
    folded = (node for part in unit.passes for node in part.folded)  # never held
    for node in (*unit.makes, *folded):
        last.pop(node, None)
    freed: dict[int, list[Node]] = {}
    for value, index in last.items():
        freed.setdefault(index, []).append(value)
    steps: list[RunPass | Free] = []
    for index in range(len(unit.passes)):
        steps.append(RunPass(index))
        if index in freed:
            steps.append(Free(tuple(freed[index])))
    return tuple(steps)


def _statistics_read(unit: Unit, index: int) -> tuple[Node, ...]:
    """Statistics that a pass reads, in its prologue or in its instructions."""
    part = unit.passes[index]
    from_prologue = (value for node in part.prologue for value in node.inputs)
    from_tiles = (
        value for instruction in part.program.instructions for value in instruction.statistics
    )
    return tuple(dict.fromkeys((*from_prologue, *from_tiles)))
