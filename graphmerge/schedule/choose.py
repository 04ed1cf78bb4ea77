"""Choose the fastest plan that fits: workers, tile size, and what is kept or stored in memory."""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import inf
from typing import TYPE_CHECKING

from graphmerge.errors import InputError, Problem
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.schedule.cost import estimated_seconds
from graphmerge.schedule.executors import Executor, uses_native_code
from graphmerge.schedule.fitting import Fitting, kind_of, options_of
from graphmerge.schedule.memory import estimate
from graphmerge.schedule.order import Member, Order
from graphmerge.schedule.plan import Plan, Request, Reserved, ReservedFor
from graphmerge.schedule.variants import make_groups
from graphmerge.schedule.worth import worth_trying

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from graphmerge.graph import Graph, Output
    from graphmerge.schedule.order import Option
    from graphmerge.schedule.variants import Group, Grouping

CPU_TILE_BLOCKS = (32, 8, 4, 2, 1)
"""Tile sizes to try, in numerics blocks. Native code reads its inputs block by block, so only the
output of a large tile leaves the cache; and the fewer tiles, the less time Python takes."""
TORCH_TILE_BLOCKS = CPU_TILE_BLOCKS[2:]
"""The same where torch computes: what it takes for itself grows with a tile, and would be more than
is reserved for it."""
GPU_TILE_BLOCKS = (64, 16, 4, 1)
"""Tile sizes to try on a GPU, where a launch costs more and memory is plenty."""


def schedule(
    graph: Graph,
    request: Request,
    reserved_for: ReservedFor,
    *,
    loaded: frozenset[Executor] = frozenset(),
) -> Plan:
    """The fastest plan within the request; where none fits the leanest, which `validate` refuses.

    Args:
        graph: What to compute.
        request: What the plan may take.
        reserved_for: What a process takes that has loaded what an executor needs.
        loaded: What the process has loaded already, whether the plan needs it or not.

    Raises:
        InputError: a tile size was asked for that is no whole number of numerics blocks, or native
            code where there is none.
    """
    grouping = make_groups(graph, device=request.device, native=uses_native_code(request))
    used = _executors(grouping.groups)
    reserved = _reserved(used | loaded, reserved_for)
    chooser = _Chooser(graph, request, reserved, grouping, _tile_sizes(request, used))
    best: Plan | None = None
    for workers, tile in product(_worker_counts(request.workers), chooser.tiles):
        best = chooser.plan(workers, tile, best.seconds if best else inf) or best
    return best or chooser.leanest()


class _Chooser:
    """Makes plans of one graph for one request."""

    def __init__(
        self,
        graph: Graph,
        request: Request,
        reserved: Reserved,
        grouping: Grouping,
        tiles: tuple[int, ...],
    ) -> None:
        self.tiles = tiles
        self._graph = graph
        self._request = request
        self._reserved = reserved
        self._members = grouping.members
        self._options = tuple(map(options_of, grouping.groups))
        self._of_kind, self._kinds = _kinds(self._options)
        self._counts = _counts(self._members, self._kinds)
        leanest = tuple(len(options) - 1 for options in self._of_kind)
        self._orders: dict[tuple[int, ...], Order] = {}
        self._lean = self._all_at(leanest)
        self._least, self._offender = estimate(
            graph, self._lean, reserved, workers=1, tile_elements=min(tiles)
        )

    def plan(self, workers: int, tile: int, best_seconds: float) -> Plan | None:
        """The plan with so many workers and tiles of this size that holds what is worth it.

        None where none fits, or none is faster than the best so far. What fits is looked for only
        where it could be: it is no faster than if everything fitted.
        """
        lean, _ = estimate(
            self._graph, self._lean, self._reserved, workers=workers, tile_elements=tile
        )
        spare = self._request.budget_bytes - lean.predicted_peak_bytes + lean.live_bytes
        if spare < lean.live_bytes:
            return None
        wanted = worth_trying(self._of_kind, self._counts, workers, tile)
        order = self._all_at(tuple(places[0] for places in wanted))
        if estimated_seconds(order.kinds, workers=workers, tile_elements=tile) >= best_seconds:
            return None
        if order.live_bytes(workers) > spare:
            fitting = Fitting(spare - self._lean.shared_bytes, workers, self._lean.members)
            pairs = zip(self._options, self._kinds, strict=True)
            ways = [[options[place] for place in wanted[kind]] for options, kind in pairs]
            for number, output in self._members:
                fitting.take(ways[number], output)
            order = Order(tuple(fitting.chosen))
        plan = self._made(order, workers, tile)
        if not plan.fits:
            plan = self._made(self._lean, workers, tile)
        return plan if plan.fits and plan.seconds < best_seconds else None

    def _all_at(self, places: tuple[int, ...]) -> Order:
        """The order in which every group has the option at the place of its kind."""
        if places not in self._orders:
            pairs = zip(self._options, self._kinds, strict=True)
            chosen = [options[places[kind]] for options, kind in pairs]
            members = [Member(chosen[number], output) for number, output in self._members]
            self._orders[places] = Order(tuple(members))
        return self._orders[places]

    def leanest(self) -> Plan:
        """The plan that needs least."""
        return self._made(self._lean, 1, min(self.tiles))

    def _made(self, order: Order, workers: int, tile: int) -> Plan:
        memory, _ = estimate(
            self._graph, order, self._reserved, workers=workers, tile_elements=tile
        )
        return Plan(
            graph=self._graph,
            order=order,
            request=self._request,
            workers=workers,
            tile_elements=tile,
            memory=memory,
            calibrated=self._reserved.calibrated,
            least_budget_bytes=self._least.predicted_peak_bytes,
            offender=self._offender,
            seconds=estimated_seconds(order.kinds, workers=workers, tile_elements=tile),
        )


def _kinds(
    options: Sequence[tuple[Option, ...]],
) -> tuple[list[tuple[Option, ...]], list[int]]:
    """The options of the first group of every kind, and the number of the kind of each group."""
    numbers: dict[Hashable, int] = {}
    first: list[tuple[Option, ...]] = []
    kinds: list[int] = []
    for one in options:
        number = numbers.setdefault(kind_of(one), len(first))
        if number == len(first):
            first.append(one)
        kinds.append(number)
    return first, kinds


def _counts(members: Iterable[tuple[int, Output | None]], kinds: Sequence[int]) -> list[int]:
    """How many groups of every kind there are."""
    counted = Counter(kinds[number] for number, _ in members)
    return [counted[kind] for kind in range(len(counted))]


def _executors(groups: Iterable[Group]) -> frozenset[Executor]:
    """What runs the passes of all variants."""
    works = {unit.work for group in groups for variant in group.variants for unit in variant}
    return frozenset(part.executor for work in works for part in work.passes)


def _reserved(used: frozenset[Executor], reserved_for: ReservedFor) -> Reserved:
    """What the process takes: a copying one, and what each executor that is needed adds to that."""
    computing = [executor for executor in (Executor.NATIVE, Executor.TORCH) if executor in used]
    if not computing:
        return reserved_for(Executor.COPY)
    if len(computing) == 1:
        return reserved_for(computing[0])
    native, torch = map(reserved_for, computing)
    shared = reserved_for(Executor.COPY).base_bytes
    return Reserved(
        native.base_bytes + torch.base_bytes - shared,
        max(native.worker_bytes, torch.worker_bytes),
        calibrated=native.calibrated and torch.calibrated,
    )


def _worker_counts(most: int) -> Iterator[int]:
    """Numbers of workers to try, from the most on: each an eighth less than the last, or one."""
    count = most
    while count:
        yield count
        count -= max(1, count // 8)


def _tile_sizes(request: Request, used: frozenset[Executor]) -> tuple[int, ...]:
    if request.tile_elements is None:
        on_cpu = TORCH_TILE_BLOCKS if Executor.TORCH in used else CPU_TILE_BLOCKS
        blocks = on_cpu if request.device == "cpu" else GPU_TILE_BLOCKS
        return tuple(count * BLOCK_ELEMENTS for count in blocks)
    if request.tile_elements <= 0 or request.tile_elements % BLOCK_ELEMENTS:
        wanted = f"a multiple of {BLOCK_ELEMENTS}"
        raise InputError(Problem("wrong tile size", got=str(request.tile_elements), wanted=wanted))
    return (request.tile_elements,)
