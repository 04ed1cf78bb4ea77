"""Fit units into memory beside their neighbours: what is kept, and which results are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from graphmerge.schedule.cost import estimated_seconds
from graphmerge.schedule.memory import window_bytes
from graphmerge.schedule.plan import UnitPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphmerge.schedule.variants import Group

Option: TypeAlias = "tuple[UnitPlan, ...]"
"""One way to do the work of a group of units."""


def options_of(group: Group) -> tuple[Option, ...]:
    """The ways to do a group's work: every variant with all repeated inputs kept, and with none.

    The last needs least: nothing is kept or stored.
    """
    lean, kept = [], []
    for variant in group.variants:
        lean.append(tuple(UnitPlan(unit, ()) for unit in variant))
        full = tuple(UnitPlan(unit, unit.repeated_loads()) for unit in variant)
        if any(unit.kept for unit in full):
            kept.append(full)
    return (*kept, *reversed(lean))


def by_seconds(options: tuple[Option, ...], workers: int, tile: int) -> tuple[Option, ...]:
    """The options from fast to slow, as far as they are faster than the one that needs least."""
    if len(options) == 1:
        return options
    *faster, lean = options
    seconds = [estimated_seconds(option, workers=workers, tile_elements=tile) for option in options]
    order = sorted(
        (index for index in range(len(faster)) if seconds[index] < seconds[-1]),
        key=seconds.__getitem__,
    )
    return (*(options[index] for index in order), lean)


class Fitting:
    """Takes group after group, each as fast as fits beside those before and the leanest after."""

    def __init__(self, spare_bytes: int, in_flight: int, lean: Sequence[UnitPlan]) -> None:
        """Begin.

        Args:
            spare_bytes: What units in flight and stored tensors may take.
            in_flight: Most units that are in flight at once.
            lean: All units in order, in the way that needs least.
        """
        self.chosen: list[UnitPlan] = []
        self._spare_bytes = spare_bytes
        self._beside = in_flight - 1
        self._lean = lean
        self._taken = 0

    def take(self, options: Sequence[Option]) -> None:
        """Choose the first option that fits; the last one is taken to need least."""
        self._taken += len(options[-1])
        option = next((one for one in options[:-1] if self._fits(one)), options[-1])
        self.chosen.extend(option)

    def _fits(self, option: Option) -> bool:
        before = self.chosen[max(0, len(self.chosen) - self._beside) :]
        after = self._lean[self._taken : self._taken + self._beside]
        together = (*before, *option, *after)
        most = max(window_bytes(together, self._beside + 1), default=0)
        return most <= self._spare_bytes
