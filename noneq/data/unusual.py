"""Values of new rows that no training row had: outside the range of a column, or off its grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noneq.data.kinds import MOSTLY, Column

__all__ = ["Places", "Unusual", "unusual_values"]

SLACK, SINGLE = 1e-3, 2e-7  # of a step, and of a value in float32, that a value may be off a grid


class Places(NamedTuple):
    """Some values of a column.

    Attributes:
        times: number of them.
        row: index of the first, from 0.
        value: the first, in the file's units.
    """

    times: int
    row: int
    value: float


class Unusual(NamedTuple):
    """The unusual values of a column; None: there are none.

    Attributes:
        column: the column.
        outside: values below the smallest value of the training rows, or above the largest.
        off_grid: values beside the grid of the column.
    """

    column: Column
    outside: Places | None
    off_grid: Places | None


def unusual_values(columns: Sequence[Column], values: NDArray[Any]) -> list[Unusual]:
    """Find the columns in which new rows have values outside the training rows' range or grid.

    A value is on a grid if it is within a thousandth of a step of it. Up to 5 % of the training
    rows may lie off the grid of a rounded column with a density, so that as many new values there
    are not unusual.

    Arguments:
        columns: columns of the training rows.
        values: new rows (M, D) in the file's units.

    Returns:
        The columns with unusual values, in their order. A column whose range is not known, as
        those of categories, has none outside.

    >>> age = Column("age", 1, "grid", step=1.0, counted=True, low=0.0, high=99.0)
    >>> (found,) = unusual_values([age], np.array([[40.0], [-3.0], [7.5], [-1.0]]))
    >>> tuple(found.outside), tuple(found.off_grid)
    ((2, 1, -3.0), (1, 2, 7.5))
    """
    found = []
    for column, own in zip(columns, np.asarray(values, dtype=np.float64).T, strict=True):
        outside = np.zeros(len(own), bool)
        if column.low is not None and column.high is not None:
            outside = (own < column.low) | (own > column.high)
        one = Unusual(column, _places(own, outside), _places(own, _off_grid(column, own)))
        if one.outside or one.off_grid:
            found.append(one)
    return found


def _off_grid(column: Column, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values (M,) are off the grid of a column, none if it has no grid."""
    if not column.step or column.loose:
        return np.zeros(len(values), bool)
    cell = (values - column.offset) / column.step
    off = np.abs(cell - np.rint(cell)) > SLACK + SINGLE * np.abs(values) / column.step
    off &= ~np.isin(values, column.atoms)
    rare = not column.counted and not column.offset and off.mean() <= 1 - MOSTLY
    return off & (not rare)


def _places(values: NDArray[np.float64], flags: NDArray[np.bool_]) -> Places | None:
    if not flags.any():
        return None
    row = int(flags.argmax())
    return Places(int(flags.sum()), row, float(values[row]))
