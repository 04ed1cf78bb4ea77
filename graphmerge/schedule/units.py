"""Units: the work for outputs, or for what several of them share, as passes one after the other.

A unit is the work for one output tensor (or for several with the same value), for a statistic that
several outputs share, or for a tensor that is computed once and stored in memory for all that need
it. Its passes run one after the other: a pass streams tiles through a fused region and ends in
reductions, in the tensor, or in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Alike, Node, Output, Value, by_place, is_statistic
from graphmerge.schedule.facts import UnitFacts, file_reads
from graphmerge.schedule.templates import bind_pass

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

    from graphmerge.schedule.passes import Pass


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
