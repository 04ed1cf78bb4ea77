"""Outputs with NaN or infinity that none of their inputs has: numbers too large for their dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import CheckpointError, Problem, some
from graphmerge.ops.arithmetic import Cast
from graphmerge.ops.custom import Custom

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from graphmerge.graph import Node, Output

_HINT = "numbers are too large for its dtype: look at dtypes, weights and other parameters"


class Overflows:
    """Collects them during a run; the engine calls it under its lock."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._results: dict[str, Node] = {}

    def note(self, names: Iterable[str], result: Node) -> None:
        """Take note of outputs that are one result, or are made as it is.

        Raises:
            CheckpointError: the run is a strict one.
        """
        noted = dict.fromkeys(names, result)
        self._results |= noted
        if self._strict and noted:
            raise CheckpointError(_problem(noted, list(noted)))

    def problem(self, outputs: Iterable[Output]) -> Problem | None:
        """What is to be told at the end of the run, of outputs in order; None if all are finite."""
        if not self._results:
            return None
        names = [output.name for output in outputs if output.name in self._results]
        return _problem(self._results, names)


def _problem(results: Mapping[str, Node], names: Sequence[str]) -> Problem:
    where = some([f"tensor {name} ({results[name].spec.dtype.value})" for name in names])
    what = "the output has NaN or infinity where no input has"
    methods = dict.fromkeys(_plugin_method(results[name]) for name in names)
    told = "".join(f"method {method} has made NaN, or " for method in methods if method)
    return Problem(what, where, hint=told + _HINT)


def _plugin_method(result: Node) -> str:
    """The method whose function has made a result, but for its rounding; empty if none has."""
    while isinstance(result.op, Cast):
        (result,) = result.inputs
    return result.op.name if isinstance(result.op, Custom) else ""
