"""The memory model: what a plan will take, from specs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

from graphmerge.frozen_classes import frozen
from graphmerge.schedule.batching import most_at_once
from graphmerge.schedule.fusion import ALIGNMENT
from graphmerge.schedule.plan import Memory, Reserved, UnitPlan
from graphmerge.schedule.program import is_read
from graphmerge.schedule.tiling import buffer_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from graphmerge.graph import Graph, Node
    from graphmerge.schedule.order import Kinds, Order
    from graphmerge.schedule.passes import Pass

Item = TypeVar("Item")

INSTRUCTION_BYTES = 950
"""Python objects of one instruction with its share of graph and plan; outputs of one pattern share
theirs. Measured on a 70B-shaped dare_ties of four models when each of its outputs had nodes of its
own: beside what follows the resident set grew by 21.5 MB over 23,100 instructions."""
OUTPUT_BYTES = 2000
"""Python objects of one output in graph, plan, layout, journal and manifest. Measured on a mixture
of experts with 50,000 outputs: 1,210 to 1,320 bytes when planned, some 750 when run."""
FURTHER_UNIT_BYTES = 150
"""Python objects of one more unit for an output: 133 bytes, measured on the same by della."""
INPUT_BYTES = 850
"""Python objects of one stored tensor, used or not: its name, its place and its load. Measured on
the same: 810 bytes where models have other headers, 565 where they have equal ones."""
DEVICE_CONTEXT_BYTES = 600 * 2**20
"""What a CUDA context and its kernels take on the device before any tensor."""


@frozen
class TileMemory:
    """What one worker needs for a tile of one pass."""

    register_bytes: int
    """Registers, scratch and partial results."""
    kernel_bytes: int
    """The largest workspace of any kernel."""
    buffer_bytes: int
    """Read and write buffers."""
    shared_bytes: int = 0
    """What the process takes once for such tiles, however many workers have one."""

    @property
    def arena_bytes(self) -> int:
        """Registers and buffers."""
        return self.register_bytes + self.buffer_bytes


def tile_memory(
    part: Pass, in_memory: Iterable[Node], tile_elements: int, stacked: int = 0
) -> TileMemory:
    """What a worker needs for one tile of a pass, with these loads in memory.

    Small tensors lie one behind the other, `stacked` of them.
    """
    elements = max(1, stacked) * min(part.tile_elements(tile_elements), part.numel)
    program, held = part.program, set(in_memory)
    buffers = [
        buffer_bytes(load, part, elements, is_stack=stacked > 0)
        for load in program.loads
        if load not in held
    ]
    reading = max(map(_reading_bytes, program.loads), default=0)
    is_held = part.result is not None and not part.is_stored
    output = part.result.spec.dtype.bits * elements // 8 if part.result and is_held else 0
    if program.staged is not None:
        working = output + program.staged.working_bytes(elements) + len(buffers) * ALIGNMENT
        combining = program.staged.combining_bytes(elements)
        return TileMemory(working + ALIGNMENT, max(combining, reading), sum(buffers))
    if program.fused is not None:
        own = program.fused.scratch_bytes + program.fused.partial_bytes(elements)
        working = output + own + (2 + len(buffers)) * ALIGNMENT
        return TileMemory(working, reading, sum(buffers))
    slots = len(program.registers) + len(buffers)
    return TileMemory(
        program.register_bytes_per_element * elements + slots * ALIGNMENT,
        max((reading, *(need.at(elements) for need in program.workspaces))),
        sum(buffers),
        max((need.shared_bytes for need in program.workspaces), default=0),
    )


def _reading_bytes(load: Node) -> int:
    """What reading a load takes beside its buffer, and reading what it is made from."""
    if not load.inputs or not is_read(load):
        return 0
    own = load.op.workspace(tuple(value.spec for value in load.inputs)).fixed_bytes
    return own + max(map(_reading_bytes, load.inputs))


Tiles: TypeAlias = "Sequence[tuple[UnitPlan, int, list[TileMemory]]]"
"""The first unit of every kind, how many there are, and what a worker needs for each pass."""


def tiles_of(kinds: Kinds, tile_elements: int) -> Tiles:
    """What workers need for tiles of this size."""
    return [(unit, count, unit_memory(unit, tile_elements, count)) for unit, count in kinds]


def worker_memory(tiles: Tiles) -> tuple[TileMemory, str]:
    """What one worker needs to run any tile of a plan, and the name of the unit that needs most.

    Registers and buffers lie in one arena as large as the largest pass needs; the largest
    workspace of any kernel comes on top, since pages of the arena stay resident.
    """
    arena, kernel_bytes, worst, name = TileMemory(0, 0, 0), 0, -1, ""
    for unit, _, memories in tiles:
        for memory in memories:
            arena = max(arena, memory, key=lambda tile: tile.arena_bytes)
            kernel_bytes = max(kernel_bytes, memory.kernel_bytes)
            if memory.arena_bytes + memory.kernel_bytes > worst:
                worst, name = memory.arena_bytes + memory.kernel_bytes, unit.unit.name
    return TileMemory(arena.register_bytes, kernel_bytes, arena.buffer_bytes), name


def all_workers_memory(tiles: Tiles, workers: int) -> TileMemory:
    """What so many workers need at once.

    A pass that looks at whole tensors has one tile for each, so there may be fewer of the largest
    tiles than workers.
    """
    found = [
        (memory, count * times if part.tile_step >= part.numel else workers)
        for unit, count, memories in tiles
        for memory, (part, times) in zip(memories, unit.unit.work.counted_passes, strict=True)
    ]
    arenas = largest(found, workers, lambda tile: tile.arena_bytes)
    kernels = largest(found, workers, lambda tile: tile.kernel_bytes)
    return TileMemory(
        sum(count * tile.register_bytes for tile, count in arenas),
        sum(count * tile.kernel_bytes for tile, count in kernels),
        sum(count * tile.buffer_bytes for tile, count in arenas),
        max((tile.shared_bytes for tile, _ in found), default=0),
    )


def largest(
    items: Iterable[tuple[Item, int]], workers: int, size: Callable[[Item], int]
) -> list[tuple[Item, int]]:
    """The largest of items, of each of which there are so many; with how many workers have one."""
    found: list[tuple[Item, int]] = []
    for item, count in sorted(items, key=lambda pair: size(pair[0]), reverse=True):
        found.append((item, min(count, workers)))
        workers -= min(count, workers)
    return found


def unit_memory(plan: UnitPlan, tile_elements: int, count: int) -> list[TileMemory]:
    """What a worker needs for one tile of each pass of a unit, of which there are so many alike."""
    bound = plan.of_first().bound()
    stacked = min(count, most_at_once(plan.unit.work, tile_elements))
    in_memory = set(bound.in_memory)
    known: dict[Hashable, TileMemory] = {}
    found: list[TileMemory] = []
    for part in bound.unit.work.passes:
        held = tuple([load for load in part.program.loads if load in in_memory])
        key = (part.kind, held)
        if key not in known:
            known[key] = tile_memory(part, held, tile_elements, stacked)
        found.append(known[key])
    return found


def graph_bytes(graph: Graph, order: Order) -> int:
    """Python objects of graph and plan, and of the tokenizers that were read to make it."""
    instructions = sum(work.facts.instructions for work in order.works)
    outputs, inputs = len(graph.outputs), graph.source_count + len(graph.omissions)
    objects = INSTRUCTION_BYTES * instructions + OUTPUT_BYTES * outputs + INPUT_BYTES * inputs
    further_units = max(0, sum(count for _, count in order.kinds) - outputs)
    return graph.reading_bytes + objects + FURTHER_UNIT_BYTES * further_units


def estimate(
    graph: Graph, order: Order, reserved: Reserved, *, workers: int, tile_elements: int
) -> tuple[Memory, str]:
    """Predicted memory of a plan, and the name of the unit whose tiles need most."""
    tiles = tiles_of(order.kinds, tile_elements)
    tile, name = worker_memory(tiles)
    fixed = reserved.base_bytes + workers * reserved.worker_bytes + graph_bytes(graph, order)
    on_device = any(part.device != "cpu" for work in order.works for part in work.passes)
    used = all_workers_memory(tiles, workers)
    working = used.register_bytes + used.kernel_bytes + used.shared_bytes
    memory = Memory(
        reserved_bytes=fixed,
        live_bytes=order.live_bytes(workers),
        workspace_bytes=0 if on_device else working,
        buffer_bytes=used.buffer_bytes,
        device_bytes=DEVICE_CONTEXT_BYTES + workers * (tile.arena_bytes + tile.kernel_bytes)
        if on_device
        else 0,
    )
    return memory, name
