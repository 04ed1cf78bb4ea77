"""Check the invariants of a plan by running it symbolically."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.graph import Access, is_statistic
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.schedule.program import (
    Instruction,
    Program,
    is_read,
    look_through,
    tensor_inputs,
)
from graphmerge.schedule.steps import RunPass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graphmerge.graph import Node
    from graphmerge.schedule.passes import Pass
    from graphmerge.schedule.plan import Plan, UnitPlan

_STATISTIC = (Access.REDUCE, Access.SMALL)


def check_plan(plan: Plan) -> None:
    """Assert everything that a plan promises.

    Every output is computed once, and every statistic and every stored tensor; nothing is used
    before it is made or after it is freed; no register holds two live values; kept inputs and what
    other units made are freed; tiles are whole blocks; what a unit holds is at most what it
    declares.
    """
    assert plan.tile_elements % BLOCK_ELEMENTS == 0, "a tile is no whole number of blocks"
    assert 1 <= plan.workers <= max(plan.request.workers, 1), "more workers than were allowed"
    written = Counter(output.name for unit in plan.units for output in unit.unit.outputs)
    assert written == Counter(output.name for output in plan.graph.outputs), (
        "outputs are not computed exactly once"
    )
    shared: set[Node] = set()
    made: Counter[Node] = Counter()
    for unit in plan.units:
        lacking = set(unit.unit.needs) - shared
        assert not lacking, f"{unit.unit.name} needs {lacking} before it is made"
        again = shared.intersection(unit.unit.makes)
        assert not again, f"{again} is made twice"
        replay = _UnitReplay(unit.bound())
        replay.run()
        made.update(replay.made)
        shared.update(unit.unit.makes)
    assert set(made.values()) <= {1}, "a statistic is computed twice"
    reached = {node for node in plan.graph.nodes() if node.op.access in _STATISTIC}
    assert set(made) == reached, "a statistic is missing, or one is made for nobody"


class _UnitReplay:
    """One unit, step by step."""

    def __init__(self, plan: UnitPlan) -> None:
        self.made: list[Node] = []
        self._plan = plan
        self._statistics = {node for node in plan.unit.needs if is_statistic(node)}
        self._given = set(plan.unit.needs) - self._statistics
        self._kept: set[Node] = set()
        self._freed: set[Node] = set()
        self._folded: set[Node] = set()

    def run(self) -> None:
        unit = self._plan.unit
        passes = [step.index for step in self._plan.steps if isinstance(step, RunPass)]
        assert passes == list(range(len(unit.passes))), f"{unit.name}: passes {passes}"
        for step in self._plan.steps:
            if isinstance(step, RunPass):
                self._run_pass(unit.passes[step.index])
            else:
                for value in step.values:
                    self._free(value)
        held = self._kept | self._given | self._statistics.intersection(unit.needs)
        assert not held, f"{unit.name}: {held} are never freed"
        made = {node for node in unit.makes if is_statistic(node)}
        assert made <= self._statistics, f"{unit.name} does not make what it says"
        outputs = {look_through(output.node) for output in unit.outputs}
        results = (outputs - self._statistics) | (set(unit.makes) - made)
        assert len(results) <= 1, f"{unit.name} has outputs of different values"
        found = [part.result for part in unit.passes if part.result is not None]
        assert {look_through(node) for node in found} == results, f"{unit.name}: wrong result"
        assert len(found) == len(results), f"{unit.name}: its result is computed {len(found)} times"

    def _free(self, value: Node) -> None:
        places = (self._kept, self._given, self._statistics)
        holding = [place for place in places if value in place]
        assert len(holding) == 1, f"{value} is freed, but not held"
        holding[0].remove(value)
        self._freed.add(value)

    def _run_pass(self, part: Pass) -> None:
        for node in part.prologue:
            self._require(value for value in node.inputs if value not in self._folded)
            self._statistics.add(node)
            self.made.append(node)
        for load in part.program.loads:
            assert load not in self._freed, f"{load} is used after it was freed"
            if load in self._plan.kept:
                self._kept.add(load)
            is_in_file = is_read(load)
            assert is_in_file or load in self._given, f"{load} is neither in a file nor stored"
        for instruction in part.program.instructions:
            self._require(instruction.statistics)
        computed = check_program(part.program, part.result)
        assert set(part.reductions) <= computed, "a reduction of the pass is not computed"
        self._check_memory(part)
        assert set(part.folded) <= set(part.reductions), "what is folded is not made in the pass"
        self._folded.update(part.folded)
        self._statistics.update(node for node in part.reductions if node not in part.folded)
        self.made.extend(part.reductions)

    def _require(self, statistics: Iterable[Node]) -> None:
        for node in statistics:
            assert node in self._statistics, f"{node} is used before it is made or after its free"

    def _check_memory(self, part: Pass) -> None:
        states = sum(
            node.op.state_bytes(tuple(value.spec for value in node.inputs))
            for node in part.reductions
        )
        states += sum(node.spec.nbytes for node in part.folded)
        states += sum(
            node.op.state_bytes(tuple(value.spec for value in node.inputs))
            for node in self._plan.unit.makes
            if node.op.fold_width
        )
        reduced = [node for node in self._statistics if node.op.access is Access.REDUCE]
        held = states + sum(node.spec.nbytes for node in (*self._kept, *reduced))
        needs = self._plan.unit.needs
        held -= sum(node.spec.nbytes for node in reduced if node in needs)
        assert held <= self._plan.live_bytes, f"{self._plan.unit.name} holds more than it declares"


def check_program(program: Program, result: Node | None) -> set[Node]:
    """Assert that every instruction finds its inputs in its registers; the nodes it computes.

    Scratch registers are taken to hold nonsense afterwards, as kernels may leave anything there.
    """
    places: dict[int, Node | None] = {-1 - i: load for i, load in enumerate(program.loads)}
    computed: set[Node] = set()
    for instruction in program.instructions:
        node = instruction.node
        assert node not in computed, f"{node} is computed twice in a pass"
        computed.add(node)
        held = tuple(places.get(place) for place in instruction.inputs)
        assert held == tensor_inputs(node), f"{node} finds {held} in its registers"
        _check_scratch(program, instruction)
        places.update(dict.fromkeys(instruction.scratch))
        if instruction.output is None:
            assert node.op.access is Access.REDUCE, f"{node} has no output"
        else:
            _check_output(program, instruction, instruction.output)
            places[instruction.output] = node
    if result is None:
        assert program.result is None, "a result for nobody"
    else:
        assert program.result is not None, "no register has the result"
        assert places.get(program.result) is look_through(result), "the result was overwritten"
    return computed


def _check_scratch(program: Program, instruction: Instruction) -> None:
    node, scratch = instruction.node, instruction.scratch
    specs = tuple(value.spec for value in node.inputs)
    assert tuple(program.registers[place] for place in scratch) == node.op.scratch(specs)
    assert len(set(scratch)) == len(scratch), f"{node} has one scratch register twice"
    assert not set(scratch) & {*instruction.inputs, instruction.output}, (
        f"the scratch of {node} is one of its inputs or its output"
    )
    assert node.op.workspace(specs) in program.workspaces, f"workspace of {node} is not counted"


def _check_output(program: Program, instruction: Instruction, output: int) -> None:
    node, inputs = instruction.node, instruction.inputs
    assert output >= 0, f"{node} writes into a load"
    assert program.registers[output] is node.spec.dtype, f"{node} has a register of another dtype"
    if output in inputs:
        assert node.op.in_place, f"{node} overwrites an input"
        assert inputs.index(output) == 0, f"{node} overwrites an input that is not its first"
        assert inputs.count(output) == 1, f"{node} overwrites an input that it reads twice"
