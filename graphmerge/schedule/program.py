"""The program of a pass: what a worker does with one tile, over numbered registers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Access, Node, Workspace, is_statistic
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.dequantise import Dequantise, DequantisePacked
from graphmerge.ops.low_rank import AddLowRank
from graphmerge.ops.rows import GatherRows
from graphmerge.ops.sources import LoadTensor, StackLayer

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Set

    from graphmerge.schedule.fusion import FusedLayout
    from graphmerge.schedule.staging import Staged
    from graphmerge.spec import DType


_READ = (LoadTensor, GatherRows, AddLowRank, Dequantise, DequantisePacked)
"""Ops whose values come from files."""


@frozen(eq=False)
class Instruction:
    """One op on one tile."""

    node: Node
    """What is computed: an elementwise node, or a reduction that takes up the tile."""
    inputs: tuple[int, ...]
    """Registers of the tensor inputs; negative numbers are loads: -1 is the first."""
    statistics: tuple[Node, ...]
    """Statistics that the op takes after its tensor inputs."""
    output: int | None
    """Register of the result; None for a reduction."""
    scratch: tuple[int, ...] = ()
    """Registers that the kernel may write to."""


@frozen(eq=False)
class Program:
    """Instructions in order, and what they need per element of a tile."""

    instructions: tuple[Instruction, ...]
    """In an order in which inputs come before users."""
    loads: tuple[Node, ...]
    """Tensors that are read, from files or from memory; load i is register -1 - i."""
    registers: tuple[DType, ...]
    """Dtype of every register."""
    result: int | None
    """Register of the output tensor (a load for a plain copy); None if the pass only reduces."""
    workspaces: tuple[Workspace, ...]
    """The distinct needs of the kernels; one runs at a time, so the largest counts."""
    fused: FusedLayout | None = None
    """How the program becomes one native function, if it is to become one."""
    staged: Staged | None = None
    """How it becomes several, if some of them go through whole rows."""

    @property
    def result_node(self) -> Node | None:
        """The output tensor; None if the pass only reduces."""
        if self.result is None or self.result < 0:
            return None if self.result is None else self.loads[-1 - self.result]
        written = (item.node for item in self.instructions if item.output == self.result)
        return list(written)[-1]

    @property
    def layout(self) -> Hashable | None:
        """What programs share whose native code is the same; None where there is none."""
        return self.fused or (self.staged and self.staged.layouts)

    @property
    def reads_files(self) -> bool:
        """Whether native code reads the loads that are in files itself."""
        return self.fused is not None or (self.staged is not None and self.staged.reads_files)

    def block_elements(self, elements: int) -> int:
        """Elements of a tile that such code reads at a time."""
        if self.staged is not None:
            return self.staged.block_elements(elements)
        return min(elements, BLOCK_ELEMENTS)

    @property
    def register_bytes_per_element(self) -> int:
        """Bytes of all registers, per element of the tile."""
        return sum(dtype.bits for dtype in self.registers) // 8


def compile_program(
    reductions: Iterable[Node], result: Node | None, given: Set[Node] = frozenset()
) -> Program:
    """The program that takes tiles into the reductions and computes the result's tile.

    Registers are reused as soon as their value has had its last use. Statistics are not computed
    here: they are made before the pass begins. Nor are the tensors in `given`: they are loads.
    """
    roots = (*reductions, *((result,) if result else ()))
    nodes = _region(roots, given)
    return _Compiler(nodes, result, given).compile()


def look_through(node: Node) -> Node:
    """The node whose value this node has: stacking layers changes names only."""
    while isinstance(node.op, StackLayer):
        (node,) = node.inputs
    return node


def is_read(node: Node) -> bool:
    """Whether the node's values come from files: as they are stored, or made in reading."""
    return isinstance(node.op, _READ)


def stored_inputs(load: Node) -> tuple[Node, ...]:
    """The stored tensors that a node which is read is made from: itself, or those below it."""
    if not load.inputs:
        return (load,)
    return tuple(stored for value in load.inputs for stored in stored_inputs(value))


def tensor_inputs(node: Node) -> tuple[Node, ...]:
    """The inputs that are tiled along with the node, looked through."""
    if is_read(node):
        return ()
    return tuple(look_through(value) for value in node.inputs if not is_statistic(value))


def statistic_inputs(node: Node) -> tuple[Node, ...]:
    """The inputs that are statistics."""
    return tuple(filter(is_statistic, node.inputs))


def _region(roots: tuple[Node, ...], given: Set[Node]) -> list[Node]:
    """What is evaluated per tile for the roots: everything down to loads and statistics."""
    nodes: list[Node] = []
    done: set[Node] = set()
    stack = [(look_through(root), False) for root in reversed(roots)]
    while stack:
        node, expanded = stack.pop()
        if node in done:
            continue
        if expanded or node in given:
            done.add(node)
            nodes.append(node)
        else:
            stack.append((node, True))
            stack.extend((value, False) for value in reversed(tensor_inputs(node)))
    return nodes


class _Compiler:
    """Linear-scan register allocation over a region."""

    def __init__(self, nodes: list[Node], result: Node | None, given: Set[Node]) -> None:
        loads = [node for node in nodes if node in given or is_read(node)]
        self.loads = tuple(loads)
        self.nodes = [node for node in nodes if node not in set(loads)]
        self.result = look_through(result) if result else None
        self.place: dict[Node, int] = {load: -1 - i for i, load in enumerate(self.loads)}
        self.registers: list[DType] = []
        self.free: list[int] = []
        self.uses = Counter(value for node in self.nodes for value in tensor_inputs(node))
        if self.result:
            self.uses[self.result] += 1

    def compile(self) -> Program:
        instructions = tuple(self._instruction(node) for node in self.nodes)
        workspaces = {
            node.op.workspace(tuple(value.spec for value in node.inputs)): None
            for node in self.nodes
        }
        return Program(
            instructions,
            self.loads,
            tuple(self.registers),
            self.place[self.result] if self.result else None,
            tuple(workspaces),
        )

    def _instruction(self, node: Node) -> Instruction:
        inputs = tensor_inputs(node)
        places = tuple(self.place[value] for value in inputs)
        scratch = tuple(
            self._take(dtype) for dtype in node.op.scratch(tuple(i.spec for i in node.inputs))
        )
        output = None
        if node.op.access is not Access.REDUCE:
            output = self._output(node, inputs)
            self.place[node] = output
        for register in scratch:
            self.free.append(register)
        for value in dict.fromkeys(inputs):
            self._release(value, inputs.count(value), keep=output)
        return Instruction(node, places, statistic_inputs(node), output, scratch)

    def _output(self, node: Node, inputs: tuple[Node, ...]) -> int:
        """The first input's register if the op may take it over, else another one."""
        first = inputs[0]
        place = self.place[first]
        last_use = self.uses[first] == 1
        if (
            node.op.in_place
            and last_use
            and place >= 0
            and self.registers[place] is node.spec.dtype
        ):
            return place
        return self._take(node.spec.dtype)

    def _take(self, dtype: DType) -> int:
        for register in self.free:
            if self.registers[register] is dtype:
                self.free.remove(register)
                return register
        self.registers.append(dtype)
        return len(self.registers) - 1

    def _release(self, value: Node, uses: int, *, keep: int | None) -> None:
        self.uses[value] -= uses
        place = self.place[value]
        if self.uses[value] == 0 and place >= 0 and place != keep:
            self.free.append(place)
