"""Cut a graph into units, and each unit into passes.

A unit is the work for one output tensor (or for several with the same value), for a statistic that
several outputs share, or for a tensor that is computed once and stored in memory for all that need
it. Its passes run one after the other: a pass streams tiles through a fused region and ends in
reductions, in the tensor, or in both.
"""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from typing import TYPE_CHECKING, TypeAlias

from attrs import evolve, field

from graphmerge.frozen_classes import frozen
from graphmerge.graph import (
    Access,
    Alike,
    Node,
    Output,
    Value,
    by_place,
    is_statistic,
    tops_of_kinds,
)
from graphmerge.schedule.dependence import marked_below, tops_by_tensor
from graphmerge.schedule.executors import Executor
from graphmerge.schedule.fusion import fused_layout
from graphmerge.schedule.program import Program, compile_program, is_read, look_through
from graphmerge.schedule.staging import staged_layout
from graphmerge.schedule.templates import Structure, Template, bind_pass, canonical_form
from graphmerge.schedule.tiling import MOST_READ_ELEMENTS, reads_itself, tile_step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Set


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
    folded: tuple[Node, ...] = ()
    """The reductions that the unit's statistic over many tensors takes in, and nothing else."""
    kind: object = field(factory=object)
    """What passes share that do the same on other nodes."""
    is_stored: bool = False
    """Whether the result goes to memory for others, tile by tile."""

    def tile_elements(self, wanted: int) -> int:
        """Elements of a tile: as many as wanted, or what the ops of the pass must have at once."""
        is_any = self._reads_itself or self.reads_in_place
        most = wanted if is_any else min(wanted, MOST_READ_ELEMENTS)
        return max(self.tile_step, most // self.tile_step * self.tile_step)

    @property
    def _reads_itself(self) -> bool:
        """Whether native code reads a tile's inputs; torch has tiles of its own size."""
        if self.executor is not Executor.NATIVE:
            return self.executor is Executor.TORCH
        unread = (load for load in self.program.loads if is_read(load))
        return all(reads_itself(self.program, load) for load in unread)

    @property
    def reads_in_place(self) -> bool:
        """Whether what is read goes at once to where others find it."""
        return self.is_stored and self.executor is Executor.COPY

    @property
    def executor(self) -> Executor:
        """What runs the program."""
        if not self.program.instructions:
            return Executor.COPY
        return Executor.TORCH if self.program.layout is None else Executor.NATIVE


@frozen(eq=False)
class Work:
    """What a unit does."""

    root: Node
    """What it is for: the statistic or stored tensor that it makes, or the value of its outputs."""
    passes: tuple[Pass, ...]
    """One after the other."""
    needs: tuple[Node, ...]
    """Shared statistics and stored tensors that other units make."""
    makes: tuple[Node, ...]
    """The root, if other units need it."""
    facts: UnitFacts
    """What is the same for all units of one structure."""
    rounds: tuple[Round, ...] = ()
    """Passes that are run for other tensors as well; those after them are run once."""

    @property
    def counted_passes(self) -> list[tuple[Pass, int]]:
        """The passes, and how often each is run, for one tensor after the other."""
        times = [len(one.alike.members) for one in self.rounds for _ in one.passes]
        times += [1] * (len(self.passes) - len(times))
        return list(zip(self.passes, times, strict=True))

    @property
    def pass_count(self) -> int:
        """How many passes are run."""
        return sum(count for _, count in self.counted_passes)

    def spread(self) -> Work:
        """The same work, with a pass of its own for every tensor."""
        turns = (turn for one in self.rounds for turn in one.turns())
        once = self.passes[sum(len(one.passes) for one in self.rounds) :]
        passes = (*by_place(turns), *once)
        return Work(self.root, passes, self.needs, self.makes, self.facts)

    def reads(self) -> Counter[Node]:
        """How many passes read each tensor of an input file."""
        return file_reads(self.passes, self.needs)

    def bind(self, nodes: Mapping[Node, Node]) -> Work:
        """The same work on other nodes."""
        return Work(
            nodes[self.root],
            tuple(bind_pass(part, nodes) for part in self.passes),
            tuple(nodes[node] for node in self.needs),
            tuple(nodes[node] for node in self.makes),
            self.facts,
        )


@frozen(eq=False)
class Round:
    """Passes over one tensor that are run for all tensors of its kind."""

    passes: tuple[Pass, ...]
    """Those of the first."""
    tops: tuple[Node, ...]
    """What they make of it."""
    alike: Alike
    """The tensors."""

    def turns(self) -> Iterator[tuple[int, tuple[Pass, ...]]]:
        """The passes of every tensor, after its place among all."""
        for member, nodes in self.alike.bind_all(self.tops):
            yield member.place, tuple(bind_pass(part, nodes) for part in self.passes)


@frozen(eq=False)
class Unit:
    """Passes that belong together, in order.

    Outputs of one pattern that share nothing have the same work; it speaks of the nodes of the
    first of them. What a unit says of nodes is said of its own ones, made when they are asked for.
    """

    outputs: tuple[Output, ...]
    """Output tensors that the last pass writes; empty where the unit only makes something."""
    work: Work
    """What is done, for this unit or for another one of the same pattern."""
    value: Value | None = None
    """The tensor that it is done for, if the work speaks of the nodes of another."""

    def bound(self) -> Unit:
        """The same unit with work that speaks of its own nodes."""
        if self.value is None:
            return Unit(self.outputs, self.work.spread()) if self.work.rounds else self
        return Unit(self.outputs, self.work.bind(self.value.bind()))

    def for_output(self, output: Output) -> Unit:
        """The unit that does the same for another output of the pattern."""
        return Unit((output,) if self.outputs else (), self.work, output.value)

    @property
    def passes(self) -> tuple[Pass, ...]:
        """One after the other."""
        return self.bound().work.passes

    @property
    def needs(self) -> tuple[Node, ...]:
        """Shared statistics and stored tensors that other units make."""
        return self._own(self.work.needs)

    @property
    def makes(self) -> tuple[Node, ...]:
        """The shared statistic or the stored tensor that this unit makes for others."""
        return self._own(self.work.makes)

    @property
    def root(self) -> Node:
        """What the unit is for: what it makes, or the value of its outputs."""
        return self._own((self.work.root,))[0]

    def _own(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        """The unit's own nodes in place of those of its work."""
        if self.value is None or self.value.pattern.unchanging.issuperset(nodes):
            return nodes
        own = self.value.bind()
        return tuple(own[node] for node in nodes)

    @property
    def facts(self) -> UnitFacts:
        """What is the same for all units of one structure."""
        return self.work.facts

    @property
    def name(self) -> str:
        """What messages call the unit: its first output, or what it makes."""
        if self.outputs:
            return self.outputs[0].name
        kind = self.work.root.op.kind
        return f"shared {kind}" if is_statistic(self.work.root) else f"stored {kind}"

    @property
    def stored(self) -> Node | None:
        """The tensor that the unit stores in memory for others, if it does."""
        return next((node for node in self.makes if not is_statistic(node)), None)

    @property
    def stored_bytes(self) -> int:
        """Bytes of the tensor that the unit stores for others."""
        return sum(node.spec.nbytes for node in self.work.makes if not is_statistic(node))

    def reads(self) -> Counter[Node]:
        """How many passes read each tensor of an input file."""
        return self.bound().work.reads()

    def repeated_loads(self) -> tuple[Node, ...]:
        """Tensors of input files that more than one pass reads: what is worth keeping."""
        return tuple(load for load, count in self.reads().items() if count > 1)


@frozen(eq=False)
class UnitFacts:
    """What units of one structure have in common."""

    instructions: int
    """Instructions of all passes."""
    state_bytes: int
    """Bytes of the reductions' state and statistics, all passes together."""
    has_repeats: bool
    """Whether more than one pass reads some tensor of an input file."""
    repeated_bytes: int
    """Bytes of the tensors in input files that more than one pass reads."""
    loaded_bytes: int
    """Bytes of all tensors in input files that the unit reads, each counted once."""
    streamed_bytes: int
    """The same, each counted once per pass that reads it."""
    copied_again_bytes: int
    """What of the streamed bytes comes right after a first time from a file as it is stored there:
    not made in reading, and so no more than a copy out of the page cache."""
    shared_traffic_bytes: int
    """Bytes of results that other units stored, once per pass that reads them, and of the result
    that it stores. Inputs are stored, and read, as fast as kept ones."""


def file_reads(passes: Iterable[Pass], given: Iterable[Node]) -> Counter[Node]:
    """How many passes read each tensor that is in a file, and not in memory as `given` ones are."""
    in_memory = set(given)
    return Counter(load for part in passes for load in part.program.loads if load not in in_memory)


def unit_facts(passes: tuple[Pass, ...], needs: tuple[Node, ...], stored_bytes: int) -> UnitFacts:
    """Facts about the unit that has these passes."""
    states = sum(
        node.op.state_bytes(tuple(value.spec for value in node.inputs)) + node.spec.nbytes
        for part in passes
        for node in part.reductions
    )
    states += sum(node.spec.nbytes for part in passes for node in part.prologue)
    reads = file_reads(passes, needs)
    given = set(needs)
    loads = (load for part in passes for load in part.program.loads)
    shared = (load for load in loads if load in given and not is_read(load))
    return UnitFacts(
        instructions=sum(len(part.program.instructions) for part in passes),
        state_bytes=states,
        has_repeats=any(count > 1 for count in reads.values()),
        repeated_bytes=sum(load.spec.nbytes for load, count in reads.items() if count > 1),
        loaded_bytes=sum(load.spec.nbytes for load in reads),
        streamed_bytes=sum(load.spec.nbytes * count for load, count in reads.items()),
        copied_again_bytes=sum(
            load.spec.nbytes * (count - 1) for load, count in reads.items() if not load.inputs
        ),
        shared_traffic_bytes=stored_bytes + sum(load.spec.nbytes for load in shared),
    )


def _facts_one_by_one(parts: Iterable[tuple[UnitFacts, int]], held_bytes: int) -> UnitFacts:
    """Facts about a unit that goes through tensors one by one and holds so much from the first.

    Those about a tensor come with how many there are like it.
    """
    found = tuple(parts)
    return UnitFacts(
        instructions=sum(count * part.instructions for part, count in found),
        has_repeats=any(part.has_repeats for part, _ in found),
        state_bytes=held_bytes + max((part.state_bytes for part, _ in found), default=0),
        repeated_bytes=sum(count * part.repeated_bytes for part, count in found),
        loaded_bytes=sum(count * part.loaded_bytes for part, count in found),
        streamed_bytes=sum(count * part.streamed_bytes for part, count in found),
        copied_again_bytes=sum(count * part.copied_again_bytes for part, count in found),
        shared_traffic_bytes=sum(count * part.shared_traffic_bytes for part, count in found),
    )


Roots: TypeAlias = "Mapping[Node, tuple[Output, ...]]"
"""What units are made for: the outputs that have each node's value; none where it is only made for
others."""


def output_roots(outputs: Iterable[Output]) -> Roots:
    """The nodes of the outputs, each once."""
    by_node: dict[Node, tuple[Output, ...]] = {}
    for output in outputs:
        node = look_through(output.node)
        by_node[node] = (*by_node.get(node, ()), output)
    return by_node


class UnitBuilder:
    """Makes units, working out the passes once per structure."""

    def __init__(self, device: str, *, native: bool) -> None:
        """Prepare.

        Args:
            device: Where kernels run.
            native: Whether programs are to be compiled where they can be.
        """
        self._native = native
        self._device = device
        self._known: dict[tuple[str, Structure], tuple[Template, UnitFacts]] = {}

    def units(self, roots: Roots, shared: Set[Node], made: set[Node]) -> list[Unit]:
        """The units of these roots in order; what is shared comes before its first user.

        Args:
            roots: What to make, with the outputs that have its value.
            shared: Statistics and tensors that units make for others.
            made: Those that are made already; what is made here is added.
        """
        units: list[Unit] = []
        for root in roots:
            below = marked_below((root,), shared, made.__contains__) if shared else ()
            for node in dict.fromkeys((*below, root)):  # a statistic may be an output
                if node in made or not (node in shared or node is root):
                    continue
                units.append(self._unit(node, roots.get(node, ()), shared))
                if node in shared:
                    made.add(node)
        return units

    def _unit(self, root: Node, outputs: tuple[Output, ...], shared: Set[Node]) -> Unit:
        if root.op.fold_width:
            return self._folding_unit(root, shared)
        makes = (root,) if root in shared else ()
        is_computed = bool(makes) and not is_statistic(root) and not is_read(root)
        stored_bytes = root.spec.nbytes if is_computed else 0
        passes, needs, facts = self._bound(
            (root,), shared, self._passes(root, shared), "makes" if makes else "", stored_bytes
        )
        return Unit(outputs, Work(root, passes, needs, makes, facts))

    def _folding_unit(self, root: Node, shared: Set[Node]) -> Unit:
        """The unit of a statistic over many tensors: passes over one tensor after the other."""
        passes: list[Pass] = []
        needs = dict.fromkeys(value for value in root.inputs if value in shared)
        all_facts: list[tuple[UnitFacts, int]] = []
        rounds: list[Round] = []
        kinds = dict(tops_of_kinds(root))
        tensors = tuple(tops_by_tensor(root, shared))
        for tops, alike in zip(tensors, kinds or repeat(None, len(tensors)), strict=True):
            parts = self._passes_into(tops, shared)
            found, needed, facts = self._bound(tops, shared, parts, "folded", 0)
            passes += found
            needs |= dict.fromkeys(needed)
            all_facts.append((facts, len(alike.members) if alike else 1))
            if alike:
                rounds.append(Round(found, kinds[alike], alike))
        end = Pass(compile_program((), None), (), None, 0, (root,), self._device, tile_step=1)
        specs = tuple(value.spec for value in root.inputs)
        held = root.op.state_bytes(specs) + root.spec.nbytes
        facts = _facts_one_by_one(all_facts, held)
        return Unit((), Work(root, (*passes, end), tuple(needs), (root,), facts, tuple(rounds)))

    def shared_units(self, root: Node, shared: Set[Node], made: set[Node]) -> list[Unit]:
        """The units of what is shared below a root and not made yet; what they make is added."""
        below = marked_below((root,), shared, made.__contains__) if shared else ()
        found = [node for node in below if node in shared and node not in made]
        made.update(found)
        return [self._unit(node, (), shared) for node in found]

    def _bound(
        self,
        roots: tuple[Node, ...],
        shared: Set[Node],
        lazily: Iterator[Pass],
        kind: str,
        stored_bytes: int,
    ) -> tuple[tuple[Pass, ...], tuple[Node, ...], UnitFacts]:
        """Passes of roots, `lazily` worked out if they are the first of their kind; and needs."""
        structure, nodes = canonical_form(roots, shared)
        needs = tuple(node for node in nodes if node in shared and node not in roots)
        key = kind, structure
        if key in self._known:
            template, facts = self._known[key]
            return template.bind(nodes), needs, facts
        passes = tuple(map(self._fused, lazily))
        facts = unit_facts(passes, needs, stored_bytes)
        self._known[key] = Template(nodes, passes), facts
        return passes, needs, facts

    def _fused(self, part: Pass) -> Pass:
        """The pass with its program laid out as native functions, where it can be."""
        if not self._native:
            return part
        program = part.program
        laid_out = evolve(program, fused=fused_layout(program), staged=staged_layout(program))
        return evolve(part, program=laid_out)

    def _passes(self, root: Node, shared: Set[Node]) -> Iterator[Pass]:
        """Passes of an output tensor, or of what is shared."""
        own, given = _own_and_given((root,), shared)
        if is_statistic(root):
            yield from _passes(own, None, given, self._device)
        else:
            for part in _passes(own, root, given, self._device):
                is_stored = part.result is root and root in shared
                yield evolve(part, is_stored=True) if is_stored else part

    def _passes_into(self, tops: tuple[Node, ...], shared: Set[Node]) -> Iterator[Pass]:
        """Passes of reductions of one tensor that a statistic over many takes in."""
        own, given = _own_and_given(tops, shared)
        for part in _passes(own, None, given, self._device):
            yield evolve(part, folded=tuple(node for node in part.reductions if node in tops))


def _own_and_given(tops: tuple[Node, ...], shared: Set[Node]) -> tuple[list[Node], set[Node]]:
    """Statistics that are made for some nodes, those among them included; and what is given."""
    marked = list(marked_below(tops, shared, shared.__contains__))
    given = {node for node in marked if node in shared and node not in tops}
    return [node for node in marked if node not in given and is_statistic(node)], given


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
        program = compile_program(reductions, made, given)
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
