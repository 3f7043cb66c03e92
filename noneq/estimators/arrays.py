"""Functions of the rows that an estimator is given: a dense array or a sparse csr matrix.

They make sparse rows dense in parts, test for bits, and hash rows.
"""

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
"""The type of a dense NumPy array of floating-point numbers."""
Rows: TypeAlias = Any
"""The type of M rows (M, d): a dense array, or a scipy.sparse matrix or array in csr format."""
PART = 2**24  # numbers that are made dense at a time


def dense(x: Rows) -> Floats:
    """Convert rows, dense or sparse, to a dense NumPy array.

    Arguments:
        x: rows (M, d), dense or sparse.

    Returns:
        A dense array (M, d) of the same rows.
    """
    found: Floats = x.toarray() if issparse(x) else x
    return found


def parts(x: Rows, copies: int = 1) -> Iterator[Floats]:
    """Split rows into consecutive dense arrays, each small enough for the memory.

    A part has at most ``PART / copies`` numbers (PART is 2^24), and at least one row.

    Arguments:
        x: rows (M, d), dense or sparse.
        copies: number of copies that the caller will make of each row of a part.

    Returns:
        An iterator over the parts in order: dense arrays (m, d), m the rows of a part.
    """
    size = max(1, PART // (copies * x.shape[1]))
    for i in range(0, x.shape[0], size):
        yield dense(x[i : i + size])


def are_bits(x: Rows) -> bool:
    """Test whether all values in the rows are 0 or 1.

    Arguments:
        x: rows (M, d), dense or sparse.

    Returns:
        True if every value is 0 or 1.
    """
    values = x.data if issparse(x) else x
    return bool(((values == 0) | (values == 1)).all())


def rows_of_bits(x: Rows) -> NDArray[np.bool_]:
    """Test for each row whether all of its values are 0 or 1.

    Arguments:
        x: rows (M, d), dense or sparse.

    Returns:
        Booleans (M,), one for each row.
    """
    if not issparse(x):
        found: NDArray[np.bool_] = ((x == 0) | (x == 1)).all(1)
        return found
    of = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    return ~np.isin(np.arange(x.shape[0]), of[(x.data != 0) & (x.data != 1)])


def extremes(x: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the least and the largest value of each column.

    Arguments:
        x: rows (M, d), dense or sparse.

    Returns:
        The least values (d,), and the largest values (d,), float64.
    """
    if issparse(x):
        least, most = (getattr(x, name)(axis=0).toarray().ravel() for name in ("min", "max"))
    else:
        least, most = x.min(0), x.max(0)
    return least.astype(np.float64), most.astype(np.float64)


def hashes(x: Rows) -> NDArray[np.float64]:
    """Hash each row to a number in [0, 1), so that equal rows have equal numbers.

    Arguments:
        x: rows (M, d), dense or sparse.

    Returns:
        The hashes (M,), float64; those of different rows are approximately uniform.
    """
    exact = (part.astype(np.float64) + 0.0 for part in parts(x))  # -0.0 + 0.0 is 0.0
    found = [crc32(row.tobytes()) for part in exact for row in part]
    return np.array(found, dtype=np.float64) / 2**32


def uniform(row: Floats, draws: int) -> NDArray[np.float64]:
    """Draw uniform random numbers for one row, with a hash of the row as the seed.

    So equal rows get the same random numbers, wherever in an array they stand.

    Arguments:
        row: one row (d,).
        draws: number of draws for each of the d values.

    Returns:
        Random numbers (draws, d) in [0, 1).
    """
    return np.random.default_rng(crc32(row.tobytes())).random((draws, len(row)))
