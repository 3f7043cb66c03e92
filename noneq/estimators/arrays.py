"""Arrays of rows as an estimator is given them: dense, or compressed sparse rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

__all__ = [
    "Floats",
    "Rows",
    "are_bits",
    "dense",
    "extremes",
    "hashes",
    "parts",
    "rows_of_bits",
    "uniform",
]

Floats: TypeAlias = NDArray[np.floating[Any]]
Rows: TypeAlias = Any  # Floats, or a scipy.sparse matrix or array in csr format
PART = 2**24  # numbers that are made dense at a time


def dense(x: Rows) -> Floats:
    """Convert rows to an ordinary array.

    Returns:
        The same rows, dense.
    """
    found: Floats = x.toarray() if issparse(x) else x
    return found


def parts(x: Rows, copies: int = 1) -> Iterator[Floats]:
    """Go through rows in order, in dense parts of at most PART numbers.

    Arguments:
        x: rows (M, d).
        copies: of each row, that a part has to have room for.

    Returns:
        An iterator over arrays.
    """
    size = max(1, PART // (copies * x.shape[1]))
    for i in range(0, x.shape[0], size):
        yield dense(x[i : i + size])


def are_bits(x: Rows) -> bool:
    """Test whether all values are 0 or 1.

    Returns:
        True if they are.
    """
    values = x.data if issparse(x) else x
    return bool(((values == 0) | (values == 1)).all())


def rows_of_bits(x: Rows) -> NDArray[np.bool_]:
    """Test for each row whether it is made of 0 and 1.

    Returns:
        Booleans (M,).
    """
    if not issparse(x):
        found: NDArray[np.bool_] = ((x == 0) | (x == 1)).all(1)
        return found
    of = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    return ~np.isin(np.arange(x.shape[0]), of[(x.data != 0) & (x.data != 1)])


def extremes(x: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the least and the largest value of each column.

    Returns:
        Two arrays (d,).
    """
    if issparse(x):
        least, most = (getattr(x, name)(axis=0).toarray().ravel() for name in ("min", "max"))
    else:
        least, most = x.min(0), x.max(0)
    return least.astype(np.float64), most.astype(np.float64)


def hashes(x: Rows) -> NDArray[np.float64]:
    """Compute a number in [0, 1) for each row from its values: equal rows have equal numbers.

    Returns:
        The numbers (M,).
    """
    exact = (part.astype(np.float64) + 0.0 for part in parts(x))  # -0.0 + 0.0 is 0.0
    found = [crc32(row.tobytes()) for part in exact for row in part]
    return np.array(found, dtype=np.float64) / 2**32


def uniform(row: Floats, draws: int) -> NDArray[np.float64]:
    """Draw uniform numbers that depend on a row alone, wherever the row stands.

    Returns:
        Numbers (draws, d) in [0, 1).
    """
    return np.random.default_rng(crc32(row.tobytes())).random((draws, len(row)))
