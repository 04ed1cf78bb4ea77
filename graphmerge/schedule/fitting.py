"""Fit units into memory beside their neighbours: what is kept, and which results are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.schedule.order import Member, most_in_window
from graphmerge.schedule.plan import UnitPlan

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

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


class Fitting:
    """Takes group after group, each as fast as fits beside those before and the leanest after."""

    def __init__(self, spare_bytes: int, in_flight: int, lean: Sequence[UnitPlan]) -> None:
        """Begin.

        Args:
            spare_bytes: What units in flight and stored tensors may take.
            in_flight: Most units that are in flight at once.
            lean: All units in order, in the way that needs least.
        """
        self.chosen: list[Member] = []
        self._units: list[UnitPlan] = []
        self._spare_bytes = spare_bytes
        self._beside = in_flight - 1
        self._lean = lean
        self._taken = 0

    def take(self, members: Sequence[Member]) -> None:
        """Choose the first way that fits; the last one is taken to need least."""
        self._taken += len(members[-1].option)
        fitting = next((one for one in members[:-1] if self._fits(one.units)), members[-1])
        self.chosen.append(fitting)
        self._units.extend(fitting.units)

    def _fits(self, option: Option) -> bool:
        before = self._units[max(0, len(self._units) - self._beside) :]
        after = self._lean[self._taken : self._taken + self._beside]
        together = (*before, *option, *after)
        return most_in_window(together, self._beside + 1) <= self._spare_bytes
