"""Reuse the passes of one unit for every unit of the same structure.

A model of 80 layers has some ten kinds of tensors, so passes are worked out some ten times and then
only bound to other nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import evolve

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Space
from graphmerge.schedule.program import Instruction
from graphmerge.schedule.staging import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set

    from graphmerge.graph import Node
    from graphmerge.schedule.passes import Pass
    from graphmerge.schedule.program import Program
    from graphmerge.schedule.staging import Staged

Structure: TypeAlias = "tuple[Hashable, ...]"

_GIVEN_STATISTIC, _GIVEN_TENSOR = "given statistic", "given tensor"
"""Descriptions of what other units make."""


def canonical_form(roots: Sequence[Node], stop: Set[Node]) -> tuple[Structure, list[Node]]:
    """What roots must share for their passes to be alike, and the nodes in the order it lists.

    Nodes in `stop` (what units share) are leaves. Every node is described by its op's structure,
    its spec and the places of its inputs.
    """
    places: dict[Node, int] = {}
    nodes: list[Node] = []
    structure: list[Hashable] = []
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, expanded = stack.pop()
        if node in places:
            continue
        leaf = node in stop and node not in roots
        if expanded or leaf or not node.inputs:
            places[node] = len(nodes)
            nodes.append(node)
            inputs = () if leaf else tuple(places[value] for value in node.inputs)
            structure.append((_given(node) if leaf else node.op.structure(), node.spec, inputs))
        else:
            stack.append((node, True))
            stack.extend((value, False) for value in reversed(node.inputs))
    return tuple(structure), nodes


def _given(node: Node) -> str:
    return _GIVEN_STATISTIC if node.space is Space.STATISTIC else _GIVEN_TENSOR


@frozen(eq=False)
class Template:
    """The passes of one root, to be bound to another of the same structure."""

    nodes: list[Node]
    """The nodes that the passes speak of, in canonical order."""
    passes: tuple[Pass, ...]
    """The passes."""

    def bind(self, nodes: list[Node]) -> tuple[Pass, ...]:
        """The same passes over other nodes, given in canonical order."""
        other = dict(zip(self.nodes, nodes, strict=True))
        return tuple(bind_pass(part, other) for part in self.passes)


def bind_pass(part: Pass, other: Mapping[Node, Node]) -> Pass:
    """The same pass over other nodes."""
    get = other.__getitem__
    return evolve(
        part,
        program=_bind_program(part.program, get),
        reductions=_bind_all(part.reductions, get),
        result=part.result and other[part.result],
        prologue=_bind_all(part.prologue, get),
        folded=_bind_all(part.folded, get),
    )


def _bind_program(program: Program, get: Callable[[Node], Node]) -> Program:
    instructions = tuple(
        Instruction(
            get(item.node),
            item.inputs,
            _bind_all(item.statistics, get),
            item.output,
            item.scratch,
        )
        for item in program.instructions
    )
    loads = _bind_all(program.loads, get)
    staged = program.staged and _bind_staged(program.staged, get)
    return evolve(program, instructions=instructions, loads=loads, staged=staged)


def _bind_staged(staged: Staged, get: Callable[[Node], Node]) -> Staged:
    stages = tuple(
        Stage(get(stage.node), tuple(_bind_program(one, get) for one in stage.values))
        for stage in staged.stages
    )
    return evolve(staged, stages=stages, rest=staged.rest and _bind_program(staged.rest, get))


def _bind_all(nodes: Iterable[Node], get: Callable[[Node], Node]) -> tuple[Node, ...]:
    return tuple(map(get, nodes))
