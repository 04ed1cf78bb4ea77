"""Cut a graph into units: once for all of one structure."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, TypeAlias

from attrs import evolve

from graphmerge.graph import Node, Output, is_statistic, tops_of_kinds
from graphmerge.schedule.dependence import marked_below, tops_by_tensor
from graphmerge.schedule.facts import UnitFacts, facts_one_by_one, unit_facts
from graphmerge.schedule.fusion import fused_layout
from graphmerge.schedule.passes import Pass, passes_of
from graphmerge.schedule.program import compile_program, is_read, look_through
from graphmerge.schedule.staging import staged_layout
from graphmerge.schedule.templates import Structure, Template, canonical_form
from graphmerge.schedule.units import Round, Unit, Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Set

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
        facts = facts_one_by_one(all_facts, held)
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
            yield from passes_of(own, None, given, self._device)
        else:
            for part in passes_of(own, root, given, self._device):
                is_stored = part.result is root and root in shared
                yield evolve(part, is_stored=True) if is_stored else part

    def _passes_into(self, tops: tuple[Node, ...], shared: Set[Node]) -> Iterator[Pass]:
        """Passes of reductions of one tensor that a statistic over many takes in."""
        own, given = _own_and_given(tops, shared)
        for part in passes_of(own, None, given, self._device):
            yield evolve(part, folded=tuple(node for node in part.reductions if node in tops))


def _own_and_given(tops: tuple[Node, ...], shared: Set[Node]) -> tuple[list[Node], set[Node]]:
    """Statistics that are made for some nodes, those among them included; and what is given."""
    marked = list(marked_below(tops, shared, shared.__contains__))
    given = {node for node in marked if node in shared and node not in tops}
    return [node for node in marked if node not in given and is_statistic(node)], given
