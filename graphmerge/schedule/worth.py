"""What is worth its memory: inputs to keep and results to store, if there is room for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.frozen_classes import frozen
from graphmerge.schedule.cost import TOUCHED_BYTES_PER_SECOND, estimated_seconds
from graphmerge.schedule.memory import largest
from graphmerge.schedule.order import kinds_of, most_in_window
from graphmerge.schedule.tiling import MOST_READ_ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.schedule.order import Option


@frozen
class _Costs:
    """What an option of a group takes."""

    place: int
    """Its place among the options."""
    seconds: float
    """Its duration."""
    held_bytes: int
    """The most that it holds at once, beyond a tile, which is read somewhere anyway."""


def worth_trying(
    options: Sequence[tuple[Option, ...]], counts: Sequence[int], workers: int, tile_elements: int
) -> tuple[tuple[int, ...], ...]:
    """Places of the options of every kind of group that are worth their memory, fast to slow.

    Memory has to be cleared before its first use, for the largest unit only: those after it take
    the same. So what is kept for a few units that are larger than all others can cost more time
    than reading again what they need. The last option, which needs least, is always there and the
    last to be tried; the budget has no say here.

    Args:
        options: The options of every kind.
        counts: How many groups of every kind there are.
        workers: Units in flight, taken to be the largest that there are.
        tile_elements: Elements of a tile.
    """
    costs = [_faster(own, workers, tile_elements) for own in options]
    sizes = sorted({cost.held_bytes for own in costs for cost in own})

    def seconds(most_bytes: int) -> float:
        """What all groups take if none holds more, and clearing that memory."""
        chosen = [min(_within(own, most_bytes), key=_by_seconds) for own in costs]
        counted = list(zip(chosen, counts, strict=True))
        working = sum(count * cost.seconds for cost, count in counted)
        held = largest(counted, workers, lambda cost: cost.held_bytes)
        held_bytes = sum(count * cost.held_bytes for cost, count in held)
        return working + held_bytes / TOUCHED_BYTES_PER_SECOND

    most_bytes = min(sizes, key=seconds, default=0)
    return tuple(tuple([cost.place for cost in _within(own, most_bytes)]) for own in costs)


def _by_seconds(cost: _Costs) -> float:
    return cost.seconds


def _within(own: Sequence[_Costs], most_bytes: int) -> list[_Costs]:
    """Those that hold no more than so much, and the last."""
    return [cost for cost in own[:-1] if cost.held_bytes <= most_bytes] + [own[-1]]


def _faster(options: tuple[Option, ...], workers: int, tile_elements: int) -> list[_Costs]:
    """The options that are faster than the last, fast to slow, and the last."""
    *others, last = (
        _Costs(
            place,
            _seconds(option, workers, tile_elements),
            _held_bytes(option, workers, tile_elements),
        )
        for place, option in enumerate(options)
    )
    faster = [cost for cost in others if cost.seconds < last.seconds]
    return [*sorted(faster, key=_by_seconds), last]


def _held_bytes(option: Option, workers: int, tile_elements: int) -> int:
    numel = max(part.numel for unit in option for part in unit.unit.work.passes)
    most_bytes = most_in_window(option, workers)
    in_tile = min(tile_elements, MOST_READ_ELEMENTS)
    return most_bytes * max(0, numel - in_tile) // numel if numel else 0


def _seconds(option: Option, workers: int, tile_elements: int) -> float:
    kinds = kinds_of((unit, 1) for unit in option)
    return estimated_seconds(kinds, workers=workers, tile_elements=tile_elements)
