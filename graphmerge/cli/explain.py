"""The tree of nodes that computes one output tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.tree import Tree

from graphmerge.cli.say import visible
from graphmerge.errors import InputError, Problem
from graphmerge.graph import Access, Node, Output
from graphmerge.ops.sources import LoadTensor
from graphmerge.recipe.suggestions import suggest
from graphmerge.schedule.program import look_through
from graphmerge.schedule.shared_results import passes_that_compute
from graphmerge.units import format_bytes

if TYPE_CHECKING:
    from graphmerge.schedule.plan import Plan


def explanation(plan: Plan, tensor: str) -> Tree:
    """The tree of an output tensor; a node that is used twice is drawn once in full.

    Raises:
        InputError: the output has no such tensor.
    """
    outputs = {output.name: output for output in plan.graph.outputs}
    if tensor not in outputs:
        hint = suggest(tensor, outputs) or "see `graphmerge plan --verbose` for the names"
        raise InputError(Problem("no such output tensor", "--explain", repr(tensor), hint=hint))
    output = outputs[tensor]
    tree = Tree(visible(tensor + (f"  (copied: {output.reason})" if output.reason else "")))
    fates = _fates(plan, output)
    drawn: set[Node] = set()
    stack = [(tree, output.node)]
    while stack:
        parent, node = stack.pop()
        is_repeated = node in drawn and bool(node.inputs)
        label = _label(node, plan.request.device) + fates.get(look_through(node), "")
        branch = parent.add(visible(label) + (" (above)" if is_repeated else ""))
        if not is_repeated:
            drawn.add(node)
            stack.extend((branch, value) for value in reversed(node.inputs))
    return tree


def _fates(plan: Plan, output: Output) -> dict[Node, str]:
    """What is done about results that several passes need."""
    units = [
        unit.unit.bound()
        for unit in plan.units
        if unit.unit.value is None or unit.unit.value is output.value
    ]
    passes = passes_that_compute(units)
    fates = {node: f"  computed in {count} passes" for node, count in passes.items()}
    stored = (unit.stored for unit in units)
    return fates | {node: "  stored" for node in stored if node is not None}


def _label(node: Node, device: str) -> str:
    on_host = isinstance(node.op, LoadTensor) or node.op.access is Access.SMALL
    settings = f"({node.op.settings()})" if node.op.settings() else ""
    size = format_bytes(node.spec.nbytes)
    where = "cpu" if on_host else device
    return f"{node.op.kind}{settings}  {node.spec}  {size}  {node.space.value}  {where}"
