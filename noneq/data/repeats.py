"""Detection of repeated rows, and splits in which no test row is the copy of a training row.

Copies of a row are kept in one split. There is one exception: where rows are equal only because
few values are possible (a table of four bits, a die), each row is assigned to a split by itself.
If equal rows were kept together there, the test rows would have values that do not occur in
training.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Repeats", "by_nature", "first_of", "observations", "parted", "repeats_in"]

Array = NDArray[Any]
Rows = NDArray[np.int64]
OFTEN = 5  # times as frequent as in independent columns, at most, of rows that are no copies
WIDEST = 100  # columns of a table whose frequencies are looked at
ATOM = 0.05  # share of the rows of a value of a single column that is no copy
_PART = 4096  # rows at a time


class Repeats(NamedTuple):
    """Counts the rows of a data set that are equal to other rows.

    ``str(repeats)`` describes the numbers for a summary; it is empty if all rows are different.

    Attributes:
        rows: the number of rows that equal an earlier row, in the same split or in another one.
        across: the number of validation and test rows that equal a row of an earlier split; the
            order of the splits is training, validation, test.
    """

    rows: int
    across: int

    def __str__(self) -> str:
        if not self.rows:
            return ""
        text = f"{self.rows:,} rows repeat others, and "
        if not self.across:
            return text + "equal rows are in one split"
        return text + f"{self.across:,} to validate or test with equal rows to train on"


def first_of(*splits: Array) -> Rows:
    """Find for each row the first row that is equal to it, over all arrays joined.

    Rows are compared by a hash of 64 bits: two different rows count as equal with probability
    2^-64.

    Arguments:
        *splits: arrays of rows (M, ...).

    Returns:
        For each row of the joined arrays the index of the first row equal to it, int64 (sum of all
        M,); that of the row itself if no earlier row is equal.
    """
    hashes = np.concatenate([_hashes(values) for values in splits])
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    found: Rows = first[which]
    return found


def _hashes(values: Array) -> Rows:
    """Return a hash of every row; -0 counts as 0."""
    hashes = np.empty(len(values), np.int64)
    for start in range(0, len(values), _PART):
        part = values[start : start + _PART]
        part = part + 0.0 if part.dtype.kind == "f" else part
        words = _words(part)
        found = np.full(len(part), words.shape[1], np.uint64)
        for word in words.T:
            found = _mixed(found ^ word)
        hashes[start : start + len(part)] = found.view(np.int64)
    return hashes


def _words(rows: Array) -> NDArray[np.uint64]:
    """Return the bytes of each row (M, ...) as integers of 64 bits (M, W), filled up with 0."""
    own = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
    missing = -own.shape[1] % 8
    own = np.pad(own, ((0, 0), (0, missing))) if missing else own
    return own.view(np.uint64)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Permute integers of 64 bits so that each bit depends on all (Steele and others 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def observations(values: Array) -> Rows:
    """Number the independent observations among rows, of which copies of a row are one.

    Equal rows are copies unless they are equal because few values are possible: in a table of few
    different rows (a die), or where a row is about as frequent as its values are in independent
    columns (a count beside an amount that is often 0).

    Arguments:
        values: rows (M, ...).

    Returns:
        For each row the index of the first copy of it, int64 (M,), which is its own if it is none.
    """
    first = first_of(values)
    own = np.arange(len(first))
    there, times = np.unique(first, return_counts=True)
    if len(there) == len(first):
        return first
    if by_nature(values, first):
        return own
    several = there[times > 1]
    natural = several[times[times > 1] <= OFTEN * _expected(values, several)]
    found: Rows = np.where(np.isin(first, natural), own, first)
    return found


def _expected(values: Array, rows: Rows) -> NDArray[np.float64]:
    """Return how often rows (R,) would occur, were the columns independent; 0 of wide tables.

    For a single column it is what it is, if it is more than 5 % of the rows, and else 0.
    """
    n = len(values)
    flat = values.reshape(n, -1)
    if flat.shape[1] > WIDEST:
        return np.zeros(len(rows))
    share = np.ones(len(rows))
    for column in flat.T:
        _, which, times = np.unique(column, return_inverse=True, return_counts=True)
        share *= times[which[rows]] / n
    if flat.shape[1] == 1:
        share[share <= ATOM] = 0.0
    return n * share


def repeats_in(splits: Sequence[Array]) -> Repeats:
    """Count the rows of a data set that are equal to other rows.

    Arguments:
        splits: the arrays of rows, the training rows first.

    Returns:
        The number of rows that equal an earlier row, and the number of rows that equal a row of an
        earlier split.
    """
    first = first_of(*splits)
    starts = np.cumsum([0, *(len(part) for part in splits)])
    # the first of equal rows stands before the split that repeats it
    across = sum(int((first[s:e] < s).sum()) for s, e in pairwise(starts))
    return Repeats(int((first != np.arange(len(first))).sum()), across)


def parted(values: Array, order: Rows, sizes: Sequence[int]) -> list[Rows]:
    """Divide rows into parts of about the given sizes, with all copies of a row in one part.

    Arguments:
        values: rows (M, ...).
        order: a permutation of the M row indices, usually random; if no rows are equal, the parts
            are consecutive pieces of it.
        sizes: the sizes of the parts, whose sum is M.

    Returns:
        For each part an array of the indices of its rows.
    """
    cuts, first = np.cumsum(sizes)[:-1], observations(values)
    if (first == np.arange(len(first))).all():
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


def by_nature(values: Array, first: Rows) -> bool:
    """Tell whether rows are equal because few values are possible, and not because of copying.

    That is so if at most half of the rows are distinct, their multiplicities have no common
    divisor, and the values of every column recur in distinct rows.

    Arguments:
        values: rows (M, ...).
        first: the index of the first row equal to each (M,), from `first_of`.

    Returns:
        True if the equal rows are independent observations, e.g. throws of a die.
    """
    distinct, times = np.unique(first, return_counts=True)
    if 2 * len(distinct) > len(first) or np.gcd.reduce(times) > 1:
        return False
    columns = values[distinct].reshape(len(distinct), -1)
    width = columns.shape[1]
    return width == 1 or all(len(np.unique(column)) < len(distinct) for column in columns.T)
