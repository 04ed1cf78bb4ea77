"""Fit units into memory beside their neighbours: what is kept, and which results are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.schedule.order import Member, most_in_window
from graphmerge.schedule.plan import UnitPlan

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from graphmerge.graph import Output
    from graphmerge.schedule.order import Option
    from graphmerge.schedule.variants import Group


def options_of(group: Group) -> tuple[Option, ...]:
    """The ways to do a group's work: every variant with all repeated inputs kept, and with none.

    The last needs least: nothing is kept or stored.
    """
    lean, kept = [], []
    for variant in group.variants:
        lean.append(tuple(UnitPlan(unit, keeps=False) for unit in variant))
        repeats = [unit.work.facts.has_repeats for unit in variant]
        if any(repeats):
            pairs = zip(variant, repeats, strict=True)
            kept.append(tuple(UnitPlan(unit, keeps=keeps) for unit, keeps in pairs))
    return (*kept, *reversed(lean))


def kind_of(options: tuple[Option, ...]) -> Hashable:
    """Groups of one kind have the same options, as to time and memory."""
    return tuple([unit.kind for option in options for unit in option])


class _Row:
    """Units in order."""

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self.plans: list[UnitPlan] = []
        """What each does, for whatever output."""
        self.outputs: list[Output | None] = []
        """For which."""
        for member in members:
            self.add(member)

    def add(self, member: Member) -> None:
        """Go on with the units of a group."""
        self.plans.extend(member.option)
        self.outputs.extend([member.output] * len(member.option))


class Fitting:
    """Takes group after group, each as fast as fits beside those before and the leanest after.

    What runs side by side is mostly what has run so before, for other tensors of the same kinds.
    """

    def __init__(self, spare_bytes: int, in_flight: int, lean: Sequence[Member]) -> None:
        """Begin.

        Args:
            spare_bytes: What units in flight and stored tensors may take.
            in_flight: Most units that are in flight at once.
            lean: All groups in order, in the way that needs least.
        """
        self.chosen: list[Member] = []
        self._spare_bytes = spare_bytes
        self._beside = in_flight - 1
        self._row = _Row()
        self._lean = _Row(lean)
        self._after = 0
        """Place of the first lean unit after the group in turn."""
        self._known: dict[Option, bool] = {}

    def take(self, options: Sequence[Option], output: Output | None) -> None:
        """Choose the first way that fits for a group; the last one is taken to need least."""
        self._after += len(options[-1])
        ways = (Member(option, output) for option in options)
        fitting = next(way for way in ways if way.option is options[-1] or self._fits(way))
        self.chosen.append(fitting)
        self._row.add(fitting)

    def _fits(self, member: Member) -> bool:
        own, row, lean = _Row([member]), self._row, self._lean
        before = slice(max(0, len(row.plans) - self._beside), None)
        after = slice(self._after, self._after + self._beside)
        plans = (*row.plans[before], *own.plans, *lean.plans[after])
        if plans not in self._known:
            outputs = (*row.outputs[before], *own.outputs, *lean.outputs[after])
            alone = (Member((plan,), output) for plan, output in zip(plans, outputs, strict=True))
            units = [unit for one in alone for unit in one.units]
            self._known[plans] = most_in_window(units, self._beside + 1) <= self._spare_bytes
        return self._known[plans]
