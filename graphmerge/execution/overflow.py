"""Outputs with NaN or infinity that none of their inputs has: numbers too large for their dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import CheckpointError, Problem, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from graphmerge.graph import Output
    from graphmerge.spec import DType

_HINT = "numbers are too large for its dtype: look at dtypes, weights and other parameters"


class Overflows:
    """Collects them during a run; the engine calls it under its lock."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._dtypes: dict[str, DType] = {}

    def note(self, names: Iterable[str], dtype: DType) -> None:
        """Take note of outputs of one dtype.

        Raises:
            CheckpointError: the run is a strict one.
        """
        noted = dict.fromkeys(names, dtype)
        self._dtypes |= noted
        if self._strict and noted:
            raise CheckpointError(_problem(noted, list(noted)))

    def problem(self, outputs: Iterable[Output]) -> Problem | None:
        """What is to be told at the end of the run, of outputs in order; None if all are finite."""
        if not self._dtypes:
            return None
        names = [output.name for output in outputs if output.name in self._dtypes]
        return _problem(self._dtypes, names)


def _problem(dtypes: Mapping[str, DType], names: Sequence[str]) -> Problem:
    where = some([f"tensor {name} ({dtypes[name].value})" for name in names])
    what = "the output has NaN or infinity where no input has"
    return Problem(what, where, hint=_HINT)
