"""Cut a graph into units, and each unit into passes.

A unit is the work for one output tensor (or for several with the same value), or for a statistic
that several outputs share. Its passes run one after the other: a pass streams tiles through a
fused region and ends in reductions, in the output, or in both.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from graphmerge.graph import Access, Graph, Node, Output
from graphmerge.schedule.executors import Executor
from graphmerge.schedule.fusion import fused_layout
from graphmerge.schedule.program import Program, compile_program, look_through
from graphmerge.schedule.templates import Structure, Template, canonical_form
from graphmerge.schedule.tiling import tile_step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STATISTIC_ACCESS = (Access.REDUCE, Access.SMALL)


@frozen(eq=False)
class Pass:
    """One streaming of tiles."""

    program: Program
    """What is done with a tile."""
    reductions: tuple[Node, ...]
    """Statistics that the pass makes."""
    result: Node | None
    """The output tensor that the pass makes, if it is the unit's last."""
    numel: int
    """Elements that are streamed."""
    prologue: tuple[Node, ...]
    """Small statistics that are made before the first tile, inputs before users."""
    device: str
    """Where the kernels run: `cpu`, `cuda` or `cuda:N`."""
    tile_step: int
    """What its tiles are a multiple of, in elements."""

    def tile_elements(self, wanted: int) -> int:
        """Elements of a tile: as many as wanted, or what the ops of the pass must have at once."""
        return max(self.tile_step, wanted // self.tile_step * self.tile_step)

    @property
    def executor(self) -> Executor:
        """What runs the program."""
        if not self.program.instructions:
            return Executor.COPY
        return Executor.TORCH if self.program.fused is None else Executor.NATIVE


@frozen(eq=False)
class Unit:
    """Passes that belong together, in order."""

    outputs: tuple[Output, ...]
    """Output tensors that the last pass writes; empty for a shared statistic."""
    passes: tuple[Pass, ...]
    """One after the other."""
    needs: tuple[Node, ...]
    """Shared statistics that other units make."""
    makes: tuple[Node, ...]
    """The shared statistic that this unit makes for others."""
    facts: UnitFacts
    """What is the same for all units of one structure."""

    @property
    def name(self) -> str:
        """What messages call the unit: its first output, or the statistic."""
        return self.outputs[0].name if self.outputs else f"shared {self.makes[0].op.kind}"

    def repeated_loads(self) -> tuple[Node, ...]:
        """Stored tensors that more than one pass reads: what is worth keeping."""
        reads = Counter(load for part in self.passes for load in part.program.loads)
        return tuple(load for load, count in reads.items() if count > 1)


@frozen(eq=False)
class UnitFacts:
    """What units of one structure have in common."""

    state_bytes: int
    """Bytes of the reductions' state and statistics, all passes together."""
    repeated_bytes: int
    """Bytes of the stored tensors that more than one pass reads."""
    loaded_bytes: int
    """Bytes of all stored tensors that the unit reads, each counted once."""
    streamed_bytes: int
    """The same, each counted once per pass that reads it."""


def unit_facts(passes: tuple[Pass, ...]) -> UnitFacts:
    """Facts about the unit that has these passes."""
    states = sum(
        node.op.state_bytes(tuple(value.spec for value in node.inputs)) + node.spec.nbytes
        for part in passes
        for node in part.reductions
    )
    states += sum(node.spec.nbytes for part in passes for node in part.prologue)
    reads = Counter(load for part in passes for load in part.program.loads)
    return UnitFacts(
        state_bytes=states,
        repeated_bytes=sum(load.spec.nbytes for load, count in reads.items() if count > 1),
        loaded_bytes=sum(load.spec.nbytes for load in reads),
        streamed_bytes=sum(load.spec.nbytes * count for load, count in reads.items()),
    )


def make_units(graph: Graph, *, device: str, native: bool) -> tuple[Unit, ...]:
    """The units in the order of the outputs; a shared statistic comes before its first user.

    Args:
        graph: What is computed.
        device: Where kernels run.
        native: Whether programs are to be compiled where they can be.
    """
    by_node: dict[Node, list[Output]] = {}
    for output in graph.outputs:
        by_node.setdefault(look_through(output.node), []).append(output)
    shared = _shared_statistics(by_node)
    builder = _UnitBuilder(shared, device, native=native)
    units: list[Unit] = []
    made: set[Node] = set()
    for node, outputs in by_node.items():
        units += [builder.unit(statistic) for statistic in _shared_below(node, shared, made)]
        units.append(builder.unit(node, tuple(outputs)))
    return tuple(units)


def _statistics_of(root: Node, stop: set[Node]) -> Iterator[Node]:
    """Statistics below a root, inputs first, without looking below those in `stop`."""
    stack, done = [(root, False)], set()
    while stack:
        node, expanded = stack.pop()
        if expanded:
            yield node
            continue
        if node in done:
            continue
        done.add(node)
        is_statistic = node.op.access in STATISTIC_ACCESS and node is not root
        if is_statistic:
            stack.append((node, True))
        if not (is_statistic and node in stop):
            stack.extend((value, False) for value in reversed(node.inputs))


def _shared_statistics(roots: Iterable[Node]) -> set[Node]:
    """Statistics that more than one unit would make; they become units of their own."""
    shared: set[Node] = set()
    while True:
        owner: dict[Node, Node] = {}
        found = {
            node
            for root in (*roots, *shared)
            for node in _statistics_of(root, shared)
            if owner.setdefault(node, root) is not root
        } - shared
        if not found:
            return shared
        shared |= found


def _shared_below(root: Node, shared: set[Node], made: set[Node]) -> Iterator[Node]:
    """Shared statistics below a root that are not made yet, in order of dependence."""
    if not shared:
        return
    for node in _statistics_of(root, set()):
        if node in shared and node not in made:
            made.add(node)
            yield node


class _UnitBuilder:
    """Makes units, working out the passes once per structure."""

    def __init__(self, shared: set[Node], device: str, *, native: bool) -> None:
        self._shared = shared
        self._native = native
        self._device = device
        self._known: dict[Structure, tuple[Template, UnitFacts]] = {}

    def unit(self, root: Node, outputs: tuple[Output, ...] = ()) -> Unit:
        """The unit of an output tensor, or of a shared statistic."""
        structure, nodes = canonical_form(root, self._shared)
        if structure in self._known:
            template, facts = self._known[structure]
            passes = template.bind(nodes)
        else:
            passes = tuple(map(self._fused, self._passes(root)))
            facts = unit_facts(passes)
            self._known[structure] = Template(nodes, passes), facts
        needs = tuple(node for node in nodes if node in self._shared and node is not root)
        makes = (root,) if root.op.access in STATISTIC_ACCESS else ()
        return Unit(outputs, passes, needs, makes, facts)

    def _fused(self, part: Pass) -> Pass:
        """The pass with its program laid out as a native function, where it can be."""
        if not self._native:
            return part
        return evolve(part, program=evolve(part.program, fused=fused_layout(part.program)))

    def _passes(self, root: Node) -> tuple[Pass, ...]:
        statistics = list(_statistics_of(root, self._shared))
        given = {node for node in statistics if node in self._shared}
        own = [node for node in statistics if node not in given]
        if root.op.access in STATISTIC_ACCESS:
            return tuple(_passes([*own, root], None, given, self._device))
        return tuple(_passes(own, root, given, self._device))


def _passes(
    statistics: list[Node], result: Node | None, given: set[Node], device: str
) -> Iterator[Pass]:
    """Passes in order of stage; reductions of one stage and length share a pass."""
    ready = dict.fromkeys(given, 0)
    groups: dict[tuple[int, int], list[Node]] = {}
    small: list[tuple[int, Node]] = []
    for node in statistics:
        stage = _stage(node, ready)
        if node.op.access is Access.SMALL:
            ready[node] = stage
            small.append((stage, node))
        else:
            ready[node] = stage + 1
            groups.setdefault((stage, node.inputs[0].spec.numel), []).append(node)
    final = (_stage(result, ready), result.spec.numel) if result is not None else None
    if final is not None:
        groups.setdefault(final, [])
    for key, reductions in sorted(groups.items(), key=lambda item: item[0]):
        made = result if key == final else None
        prologue = tuple(node for stage, node in small if stage <= key[0])
        small = [(stage, node) for stage, node in small if stage > key[0]]
        program = compile_program(reductions, made)
        step = tile_step(program, key[1])
        yield Pass(program, tuple(reductions), made, key[1], prologue, device, step)
    if small:
        empty = compile_program((), None)
        yield Pass(empty, (), None, 0, tuple(node for _, node in small), device, tile_step=1)


def _stage(node: Node, ready: dict[Node, int]) -> int:
    """The first pass in which the node can be evaluated: after every statistic below it is made."""
    stage, stack, done = 0, [node], set()
    while stack:
        current = stack.pop()
        for value in current.inputs:
            if value in ready:
                stage = max(stage, ready[value])
            elif value not in done:
                done.add(value)
                stack.append(value)
    return stage
