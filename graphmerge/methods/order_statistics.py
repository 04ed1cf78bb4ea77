"""The k-th largest magnitudes of a tensor, found digit by digit: a pass over the tensor for each.

Those of several k are found in the same passes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from graphmerge.graph import Node, make_node
from graphmerge.ops.sparsify import DIGIT_BITS, MagnitudeDigits, TieCutoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphmerge.ops.sparsify import AbstractDigits


def kth_largest(values: Node, *keep: int) -> Node:
    """The statistic of the k-th largest magnitudes, for every k, which are at least 1."""
    return last_digit(values, partial(MagnitudeDigits, keep))


def cutoffs(values: Node, *keep: int) -> tuple[Node, ...]:
    """The statistics by which the k largest magnitudes are told from the others, for every k."""
    digits = kth_largest(values, *keep)
    return tuple(make_node(TieCutoff(place), values, digits) for place in range(len(keep)))


def last_digit(values: Node, digits: Callable[[int], AbstractDigits]) -> Node:
    """The statistic of the last digit, of ops by number of the digit that go by the one before."""
    statistic: tuple[Node, ...] = ()
    for digit in range(len(DIGIT_BITS[values.spec.dtype])):
        statistic = (make_node(digits(digit), values, *statistic),)
    return statistic[0]
