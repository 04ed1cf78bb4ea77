"""The k-th largest magnitude of a tensor, found digit by digit: a pass over the tensor for each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from graphmerge.graph import Node, make_node
from graphmerge.ops import MagnitudeDigits, TieCutoff
from graphmerge.ops.sparsify import DIGIT_BITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphmerge.ops.sparsify import AbstractDigits


def kth_largest(values: Node, keep: int) -> Node:
    """The statistic of the `keep`-th largest magnitude, `keep` at least 1."""
    return last_digit(values, partial(MagnitudeDigits, keep))


def cutoff(values: Node, keep: int) -> Node:
    """The statistic by which the `keep` largest magnitudes are told from the others."""
    return make_node(TieCutoff(), values, kth_largest(values, keep))


def last_digit(values: Node, digits: Callable[[int], AbstractDigits]) -> Node:
    """The statistic of the last digit, of ops by number of the digit that go by the one before."""
    statistic: tuple[Node, ...] = ()
    for digit in range(len(DIGIT_BITS[values.spec.dtype])):
        statistic = (make_node(digits(digit), values, *statistic),)
    return statistic[0]
