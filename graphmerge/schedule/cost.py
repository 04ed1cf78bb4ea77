"""The cost model: how long a plan will take. It only has to put plans in the right order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.graph import Access
from graphmerge.schedule.executors import Executor
from graphmerge.schedule.tiling import looks_at_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graphmerge.graph import Node
    from graphmerge.schedule.order import Kinds
    from graphmerge.schedule.passes import Pass
    from graphmerge.schedule.plan import UnitPlan

READ_BYTES_PER_SECOND = 2e9
"""A fast local disk; a page-cached file is faster, a network file slower."""
COPIED_BYTES_PER_SECOND = 6e9
"""Reading again what was just read: a copy out of the page cache; measured 5 to 7."""
TOUCHED_BYTES_PER_SECOND = 1.5e9
"""Memory that is new to the process and has to be cleared; measured 0.6 to 10 on one machine, a
virtual one that may have to ask its host for it."""
WRITE_BYTES_PER_SECOND = 1.5e9
"""Page cache of a 2-core machine; measured 2.2 GB in 1.2 s."""
INSTRUCTION_SECONDS_PER_ELEMENT = 0.35e-9
"""One vectorised op on a tile in cache, per element; measured 0.15 to 1.2 ns, most near 0.3."""
NATIVE_SECONDS_PER_ELEMENT = 0.06e-9
"""One op within a native function, per element."""
STORED_BYTES_PER_SECOND = 1e10
"""Writing a result to memory, or reading it from there, by one core."""
CHOOSING_FACTOR = 8
"""How much longer than another op one takes that decides for each element whether it stays;
measured 6 to 16."""
SLOW_FACTOR = 80
"""The same for an op that looks at rows or at the whole tensor: a factorisation, or ranks, which
take 1 to 5 ns in native code."""
INSTRUCTION_OVERHEAD_SECONDS = 5e-6
"""Calling one kernel from Python."""
TILE_OVERHEAD_SECONDS = 60e-6
"""Claiming a tile, reading and writing it, beside the transfer itself."""
TRANSFER_BYTES_PER_SECOND = 12e9
"""Host to device and back over PCIe with pinned buffers."""
DEVICE_SPEED = 50.0
"""How much faster a GPU runs an op on a tile that it holds than one CPU core."""


def estimated_seconds(kinds: Kinds, *, workers: int, tile_elements: int) -> float:
    """Estimated duration of units: transfer of bytes plus arithmetic spread over the workers."""
    read = written = copied = 0
    arithmetic = 0.0
    for unit, count in kinds:
        read += count * (unit.read_bytes - unit.copied_again_bytes)
        copied += count * unit.copied_again_bytes
        written += count * sum(output.spec.nbytes for output in unit.unit.outputs)
        arithmetic += count * _unit_seconds(unit, tile_elements)
    moved = read / READ_BYTES_PER_SECOND + copied / COPIED_BYTES_PER_SECOND
    return moved + written / WRITE_BYTES_PER_SECOND + arithmetic / workers


def _unit_seconds(unit: UnitPlan, tile_elements: int) -> float:
    known: dict[object, tuple[float, float]] = {}
    seconds = 0.0
    for part, count in unit.unit.work.counted_passes:
        if part.kind not in known:
            known[part.kind] = _pass_seconds(part, tile_elements)
        for duration in known[part.kind]:
            seconds += count * duration
    return seconds + storing_seconds(unit.unit.facts.shared_traffic_bytes)


def _pass_seconds(part: Pass, tile_elements: int) -> tuple[float, float]:
    """What claiming tiles and calling kernels takes, and what the arithmetic does."""
    instructions = len(part.program.instructions)
    nodes = [instruction.node for instruction in part.program.instructions]
    tiles = -(-part.numel // part.tile_elements(tile_elements))
    is_native = part.executor is Executor.NATIVE
    calls = 1 if is_native else instructions
    overhead = tiles * (TILE_OVERHEAD_SECONDS + calls * INSTRUCTION_OVERHEAD_SECONDS)
    work = part.numel * computing_seconds(nodes, native=is_native)
    if part.device == "cpu":
        return overhead, work
    moved = sum(load.spec.nbytes for load in part.program.loads)
    moved += part.result.spec.nbytes if part.result else 0
    return overhead, work / DEVICE_SPEED + moved / TRANSFER_BYTES_PER_SECOND


def storing_seconds(moved_bytes: int) -> float:
    """Seconds that one core takes to write and read so many bytes of stored tensors."""
    return moved_bytes / STORED_BYTES_PER_SECOND


def computing_seconds(nodes: Iterable[Node], *, native: bool) -> float:
    """Seconds per element that one core takes for these ops, within one program."""
    single = NATIVE_SECONDS_PER_ELEMENT if native else INSTRUCTION_SECONDS_PER_ELEMENT
    return single * sum(map(_factor, nodes))


def _factor(node: Node) -> int:
    if node.op.access is Access.WHOLE or looks_at_rows(node):
        return SLOW_FACTOR
    needs = node.op.fusion(tuple(value.spec for value in node.inputs))
    chooses = needs is not None and (needs.mask or needs.reads_chunk or needs.chunk_value)
    return CHOOSING_FACTOR if chooses else 1
