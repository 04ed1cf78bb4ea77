"""Where each row of a vocabulary tensor comes from: the rules, over all rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphmerge.frozen_classes import frozen
from graphmerge.ops.rows import COMBINED_ROW, NO_COMBINATIONS, ZERO_ROW, Combinations, RowMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@frozen
class ConfiguredRow:
    """What the recipe says about one row of the output."""

    row: int
    """Row of the output."""
    source: int
    """Number of the table that it is taken from, or ZERO_ROW."""
    source_row: int
    """Row of that table."""
    force: bool
    """Whether this holds for models that have the token, too."""


@frozen(eq=False)
class RowCounts:
    """How the rows of one model's tensor are made."""

    own: int
    """Its own rows."""
    configured: int
    """As the recipe says, whether the model has the token or not."""
    taken: int
    """From one other model: the only one that has the token, or the base."""
    averaged: int
    """Mean of several models."""
    zero: int
    """Zeros, because no model has the row."""


@frozen(eq=False)
class Rows:
    """The map of one model's tensor."""

    map: RowMap
    """Where its rows come from: numbers of tables."""
    counts: RowCounts
    """How many come from where."""

    def is_unchanged(self, model: int, rows: int) -> bool:
        """Whether it is the model's own tensor of so many rows."""
        found = self.map
        return (
            found.rows == rows
            and not found.padding
            and bool(np.all(found.source == model))
            and bool(np.all(found.row == np.arange(rows)))
        )


def rows_of(
    model: int,
    ids: Sequence[NDArray[np.int64]],
    base: int | None,
    configured: Sequence[ConfiguredRow],
    padding: int,
) -> Rows:
    """The rows of one model's tensor.

    In this order: a row that the model has and that is not forced is its own; else what the recipe
    says; else that of the only model that has it; else that of the base; else the mean of the
    models that have it; else zero.

    Args:
        model: Number of the model.
        ids: For each model the row of each token, negative where it has none. Shapes (rows,).
        base: Number of the base, if it is among them.
        configured: What the recipe says.
        padding: Rows that follow, means of all others.
    """
    has = np.stack(ids) >= 0
    count = has.sum(axis=0)
    owner = np.where(count == 1, has.argmax(axis=0), ZERO_ROW).astype(np.int32)
    if base is not None:
        owner[has[base]] = base
    owner[(count > 1) & (owner == ZERO_ROW)] = COMBINED_ROW
    owner[has[model]] = model
    row = np.zeros(len(count), np.int64)
    for number, found in enumerate(ids):
        mine = owner == number
        row[mine] = found[mine]
    is_configured = _configure(owner, row, has[model], configured)
    combinations = _means(ids, has, owner, row)
    rest = ~is_configured
    counts = RowCounts(
        own=int(np.count_nonzero((owner == model) & rest)),
        configured=int(np.count_nonzero(is_configured)),
        taken=int(np.count_nonzero((owner >= 0) & (owner != model) & rest)),
        averaged=len(combinations),
        zero=int(np.count_nonzero((owner == ZERO_ROW) & rest)),
    )
    return Rows(RowMap(owner, row, combinations, padding), counts)


def _configure(
    owner: NDArray[np.int32],
    row: NDArray[np.int64],
    has: NDArray[np.bool_],
    configured: Sequence[ConfiguredRow],
) -> NDArray[np.bool_]:
    """Set the rows that the recipe speaks of; True for those that it decides."""
    decided = np.zeros(len(owner), np.bool_)
    for one in configured:
        if one.force or not has[one.row]:
            owner[one.row], row[one.row], decided[one.row] = one.source, one.source_row, True
    return decided


def _means(
    ids: Sequence[NDArray[np.int64]],
    has: NDArray[np.bool_],
    owner: NDArray[np.int32],
    row: NDArray[np.int64],
) -> Combinations:
    """Number the rows that are means, and say of what."""
    places = np.flatnonzero(owner == COMBINED_ROW)
    if not len(places):
        return NO_COMBINATIONS
    row[places] = np.arange(len(places))
    which, source = np.nonzero(has[:, places].T)
    counts = has[:, places].sum(axis=0)
    return Combinations(
        np.append(0, counts.cumsum()).astype(np.int64),
        source.astype(np.int32),
        np.stack(ids)[source, places[which]],
        (1.0 / counts)[which],
    )


def cropped(rows: int) -> RowMap:
    """The first rows of the only table."""
    return RowMap(np.zeros(rows, np.int32), np.arange(rows))


def extended(stored: int, rows: int) -> RowMap:
    """All rows of the only table, then a line from its last to its first row.

    The i-th of m missing rows, i from 1 to m, is (1 - t) last + t first with t = i / (m + 1).
    """
    missing = rows - stored
    source = np.where(np.arange(rows) < stored, 0, COMBINED_ROW).astype(np.int32)
    row = np.append(np.arange(stored), np.arange(missing))
    t = np.arange(1, missing + 1) / (missing + 1)
    return RowMap(
        source,
        row,
        Combinations(
            2 * np.arange(missing + 1),
            np.zeros(2 * missing, np.int32),
            np.tile(np.array([stored - 1, 0]), missing),
            np.stack((1 - t, t), axis=1).reshape(-1),
        ),
    )
