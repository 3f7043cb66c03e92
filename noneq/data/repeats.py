"""Rows that repeat others: a row to train on must not be one to report on.

Copies of rows are kept in one split. Rows that are equal because few can be different (a table of
four bits, a die) are a sample like any other and are split one by one: kept together, rows to test
with would be of states that nobody was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Repeats", "first_of", "parted", "repeats_in"]

Array = NDArray[Any]
Rows = NDArray[np.int64]
_PART = 4096  # rows at a time


class Repeats(NamedTuple):
    """How many rows repeat others."""

    rows: int
    """that equal an earlier one"""
    across: int
    """of these splits after the first that another split before theirs has, too"""

    def __str__(self) -> str:
        if not self.rows:
            return ""
        told = f"{self.rows:,} rows repeat others, and "
        if not self.across:
            return told + "equal rows are in one split"
        return told + f"{self.across:,} to validate or test with equal rows to train on"


def first_of(*splits: Array) -> Rows:
    """For every row (M, ...) of these arrays the number of the first row that is equal to it.

    By 64 bits of a hash: two rows that differ count as equal once in 2^64.
    """
    marks = np.concatenate([_marks(values) for values in splits])
    _, first, which = np.unique(marks, return_index=True, return_inverse=True)
    found: Rows = first[which]
    return found


def _marks(values: Array) -> Rows:
    """A hash of every row; -0 counts as 0."""
    marks = np.empty(len(values), np.int64)
    for start in range(0, len(values), _PART):
        part = values[start : start + _PART]
        part = part + 0.0 if part.dtype.kind == "f" else part
        marks[start : start + len(part)] = [hash(row.tobytes()) for row in part]
    return marks


def repeats_in(splits: Sequence[Array]) -> Repeats:
    """Of the rows in these splits, in this order."""
    first = first_of(*splits)
    starts = np.cumsum([0, *(len(part) for part in splits)])
    # the first of equal rows stands before the split that repeats it
    across = sum(int((first[s:e] < s).sum()) for s, e in pairwise(starts))
    return Repeats(len(first) - len(np.unique(first)), across)


def parted(values: Array, order: Rows, sizes: Sequence[int]) -> list[Rows]:
    """The rows of each part, about as many as ``sizes`` says; copies of a row are in one part.

    Arguments:
        values: rows (M, ...).
        order: a permutation of them; without copies the parts are cut from it as it is.
        sizes: of the parts; they sum to M.
    """
    cuts, first = np.cumsum(sizes)[:-1], first_of(values)
    if len(np.unique(first)) == len(first) or _by_nature(values, first):
        return np.split(order, cuts)
    # rows of a kind side by side, where the first of them is in the order
    _, starts, kinds = np.unique(first[order], return_index=True, return_inverse=True)
    places = starts[kinds]
    together = order[np.argsort(places, kind="stable")]
    ends = np.unique(places)[1:]  # where another kind begins
    bounds = np.searchsorted(np.sort(places), ends)
    if len(bounds) < len(cuts):
        return np.split(order, cuts)
    nearest = np.abs(bounds[:, None] - cuts).argmin(0)
    for i in range(1, len(cuts)):  # no part is empty
        nearest[i] = max(nearest[i], nearest[i - 1] + 1)
    nearest = np.minimum(nearest, len(bounds) - len(cuts) + np.arange(len(cuts)))
    return np.split(together, bounds[nearest])


def _by_nature(values: Array, first: Rows) -> bool:
    """Whether rows are equal because few can be different, and not because they are copies.

    At most half are different, they are not all there twice (or three times, ...), and the values
    of every column recur in rows that differ.
    """
    distinct, times = np.unique(first, return_counts=True)
    if 2 * len(distinct) > len(first) or np.gcd.reduce(times) > 1:
        return False
    columns = values[distinct].reshape(len(distinct), -1)
    width = columns.shape[1]
    return width == 1 or all(len(np.unique(column)) < len(distinct) for column in columns.T)
