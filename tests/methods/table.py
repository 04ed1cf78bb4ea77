"""One row per method and setting, of all files `table_*.py`.

A new method is a few rows in one of them; the tests that run over the table then cover it with
every dtype, shape and number of models.
"""

import table_basic
import table_masks
import table_matrix
import table_spherical
import table_statistics
import table_whole_model

TABLE = (
    *table_basic.ROWS,
    *table_masks.ROWS,
    *table_matrix.ROWS,
    *table_spherical.ROWS,
    *table_statistics.ROWS,
    *table_whole_model.ROWS,
)
"""Every row."""

ONE_EACH = tuple({row.method: row for row in reversed(TABLE)}.values())[::-1]
"""The first row of every method, for tests of what all methods share."""
