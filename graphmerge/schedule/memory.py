"""The memory model: what a plan will take, from specs alone."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from attrs import frozen

from graphmerge.graph import Graph, Node, Workspace
from graphmerge.schedule.dependence import is_statistic
from graphmerge.schedule.plan import Memory, Reserved, UnitPlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from graphmerge.schedule.units import Pass, UnitFacts

NODE_BYTES = 900
"""Python objects of one instruction or output with its share of graph and plan. Measured on a
70B-shaped ties of four models: the resident set grew by 18 to 27 MB over 32,500 of them."""
ALIGNMENT = 64
"""Registers and buffers begin at multiples of this many bytes."""
DEVICE_CONTEXT_BYTES = 600 * 2**20
"""What a CUDA context and its kernels take on the device before any tensor."""


@frozen
class TileMemory:
    """What one worker needs for a tile of one pass."""

    register_bytes: int
    """Registers and scratch."""
    kernel_bytes: int
    """The largest workspace of any kernel."""
    buffer_bytes: int
    """Read and write buffers."""

    @property
    def arena_bytes(self) -> int:
        """Registers and buffers."""
        return self.register_bytes + self.buffer_bytes


def tile_memory(part: Pass, in_memory: Iterable[Node], tile_elements: int) -> TileMemory:
    """What a worker needs for one tile of a pass, with these loads in memory."""
    elements = min(part.tile_elements(tile_elements), part.numel)
    program, held = part.program, set(in_memory)
    buffers = [load.spec.dtype.bits for load in program.loads if load not in held]
    buffer_bytes = sum((bits * elements + 7) // 8 for bits in buffers)
    reading = max(map(_gathering_bytes, program.loads), default=0)
    if program.fused is not None:
        output = part.result.spec.dtype.bits * elements // 8 if part.result else 0
        working = output + program.fused.scratch_bytes + (2 + len(buffers)) * ALIGNMENT
        return TileMemory(
            working, max(program.fused.partial_bytes(elements), reading), buffer_bytes
        )
    slots = len(program.registers) + len(buffers)
    return TileMemory(
        program.register_bytes_per_element * elements + slots * ALIGNMENT,
        max(reading, *(need.at(elements) for need in (*program.workspaces, _check(part)))),
        buffer_bytes,
    )


def _gathering_bytes(load: Node) -> int:
    """What reading a load takes beside its buffer."""
    inputs = tuple(value.spec for value in load.inputs)
    return load.op.workspace(inputs).fixed_bytes if inputs else 0


def _check(part: Pass) -> Workspace:
    """What looking for NaN in the tile of one load takes: a copy of it."""
    bits = max((load.spec.dtype.bits for load in part.program.loads), default=0)
    return Workspace(-(-bits // 8))


def worker_memory(units: Sequence[UnitPlan], tile_elements: int) -> tuple[TileMemory, str]:
    """What one worker needs to run any tile of a plan, and the name of the unit that needs most.

    Registers and buffers lie in one arena as large as the largest pass needs; the largest
    workspace of any kernel comes on top, since pages of the arena stay resident.
    """
    arena, kernel_bytes, worst, name = TileMemory(0, 0, 0), 0, -1, ""
    seen: set[tuple[UnitFacts, bool]] = set()
    for unit in units:
        kind = (unit.unit.facts, bool(unit.kept))  # units of one structure need the same
        if kind in seen:
            continue
        seen.add(kind)
        for part in unit.unit.passes:
            memory = tile_memory(part, unit.in_memory, tile_elements)
            arena = max(arena, memory, key=lambda tile: tile.arena_bytes)
            kernel_bytes = max(kernel_bytes, memory.kernel_bytes)
            if memory.arena_bytes + memory.kernel_bytes > worst:
                worst, name = memory.arena_bytes + memory.kernel_bytes, unit.unit.name
    return TileMemory(arena.register_bytes, kernel_bytes, arena.buffer_bytes), name


def live_bytes(units: Sequence[UnitPlan], in_flight: int) -> int:
    """The most that is held at once: by units in flight, stored for others, and shared."""
    return max(window_bytes(units, in_flight), default=0) + shared_bytes(units)


def window_bytes(units: Sequence[UnitPlan], in_flight: int) -> Iterator[int]:
    """What each unit and the `in_flight` - 1 before it hold, and what is stored meanwhile."""
    held = [unit.live_bytes for unit in units]
    stored = _stored_bytes(units, in_flight)
    window = 0
    for index, own in enumerate(held):
        window += own - (held[index - in_flight] if index >= in_flight else 0)
        yield window + stored[index]


def _stored_bytes(units: Sequence[UnitPlan], in_flight: int) -> list[int]:
    """Bytes of the tensors that are stored while each unit and those before it are in flight.

    A tensor is stored from the beginning of the unit that makes it (one before the first, if it is
    none of these) to the end of the last that needs it.
    """
    first: dict[Node, int] = {}
    last: dict[Node, int] = {}
    for index, plan in enumerate(units):
        for node in (*plan.unit.makes, *plan.unit.needs):
            if not is_statistic(node):
                first.setdefault(node, index if node in plan.unit.makes else 0)
                last[node] = index
    changes = [0] * (len(units) + 1)
    for node, index in first.items():
        changes[index] += node.spec.nbytes
        changes[min(last[node] + in_flight, len(units))] -= node.spec.nbytes
    return list(accumulate(changes))


def shared_bytes(units: Sequence[UnitPlan]) -> int:
    """Bytes of all statistics that units share."""
    return sum(node.spec.nbytes for unit in units for node in unit.unit.makes if is_statistic(node))


def graph_bytes(graph: Graph, units: Sequence[UnitPlan]) -> int:
    """Python objects of graph and plan, and of the tokenizers that were read to make it."""
    instructions = sum(
        len(part.program.instructions) for unit in units for part in unit.unit.passes
    )
    return graph.reading_bytes + NODE_BYTES * (2 * len(graph.outputs) + instructions)


def estimate(
    graph: Graph, units: Sequence[UnitPlan], reserved: Reserved, *, workers: int, tile_elements: int
) -> tuple[Memory, str]:
    """Predicted memory of a plan, and the name of the unit whose tiles need most."""
    tile, name = worker_memory(units, tile_elements)
    fixed = reserved.base_bytes + workers * reserved.worker_bytes + graph_bytes(graph, units)
    on_device = any(part.device != "cpu" for unit in units for part in unit.unit.passes)
    working = tile.register_bytes + tile.kernel_bytes
    memory = Memory(
        reserved_bytes=fixed,
        live_bytes=live_bytes(units, workers),
        workspace_bytes=0 if on_device else workers * working,
        buffer_bytes=workers * tile.buffer_bytes,
        device_bytes=DEVICE_CONTEXT_BYTES + workers * (tile.arena_bytes + tile.kernel_bytes)
        if on_device
        else 0,
    )
    return memory, name
