"""Where a native function keeps what in its scratch memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.frozen_classes import frozen
from graphmerge.ops.blocks import SUM_LANES
from graphmerge.schedule.fusion import CHUNK_ELEMENTS, SPREAD_BYTES

if TYPE_CHECKING:
    from graphmerge.schedule.fusion import FusedLayout
    from graphmerge.schedule.program import Program

_WIDEST_BYTES = 8


@frozen(eq=False)
class Scratch:
    """Offsets in bytes, all multiples of 64."""

    buffer_of: dict[int, int]
    """Buffers of a chunk, by value."""
    staging: tuple[int, ...]
    """Room for a chunk of every load, and of the output."""
    lanes: int
    """The lanes of all sums."""
    lanes_bytes: int
    """Their size."""
    lanes_of: dict[int, int]
    """Lanes by number of the instruction."""
    mask_of: dict[int, int]
    """Masks by number of the instruction."""
    spread_of: dict[int, tuple[int, ...]]
    """Arrays of numbers per element of a chunk, by number of the instruction."""
    memory: int
    """Integers that last from chunk to chunk."""
    memory_bytes: int
    """Their size."""
    memory_of: dict[int, int]
    """Integers by number of the instruction."""

    @classmethod
    def of(cls, program: Program, layout: FusedLayout) -> Scratch:
        """The places for a program; they end within `layout.scratch_bytes`."""
        chunk = CHUNK_ELEMENTS * _WIDEST_BYTES
        end = 0
        buffer_of = {value: end + chunk * i for i, value in enumerate(layout.buffered)}
        end += chunk * len(buffer_of)
        staging = tuple(end + chunk * i for i in range(len(program.loads) + 1))
        lanes = end = end + chunk * len(staging)
        lanes_of: dict[int, int] = {}
        mask_of: dict[int, int] = {}
        for step in layout.steps:
            if step.needs.sum_columns:
                lanes_of[step.number] = end
                end += 8 * SUM_LANES * step.needs.sum_columns
        lanes_bytes = end - lanes
        for step in layout.steps:
            if step.needs.mask:
                mask_of[step.number] = end
                end += CHUNK_ELEMENTS * step.needs.mask
        spread_of: dict[int, tuple[int, ...]] = {}
        for step in layout.steps:
            count = step.needs.spread_numbers
            spread_of[step.number] = tuple(end + SPREAD_BYTES * i for i in range(count))
            end += SPREAD_BYTES * count
        memory_of = {step.number: end + 8 * i for i, step in enumerate(layout.steps)}
        memory_bytes = 8 * len(memory_of)
        assert end + memory_bytes <= layout.scratch_bytes
        return cls(
            buffer_of,
            staging,
            lanes,
            lanes_bytes,
            lanes_of,
            mask_of,
            spread_of,
            end,
            memory_bytes,
            memory_of,
        )
