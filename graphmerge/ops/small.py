"""What ops that map statistics to a statistic, between passes, have in common."""

from __future__ import annotations

from typing import ClassVar

from graphmerge.graph import Access, Op, Space
from graphmerge.ops.checks import all_in


class AbstractSmall(Op):
    """Maps statistics to a statistic."""

    access: ClassVar[Access] = Access.SMALL
    why: ClassVar[str]
    """Why inputs must be statistics, for messages."""

    def space(self, inputs: tuple[Space, ...]) -> Space:
        """A statistic, of statistics."""
        return all_in(Space.STATISTIC, inputs, self.why)
