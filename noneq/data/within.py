"""Values of a table outside the range of its training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noneq.data.kinds import Column

__all__ = ["outside"]


def outside(columns: Sequence[Column], values: NDArray[Any]) -> NDArray[np.bool_]:
    """Find the values that are below the smallest or above the largest of the training rows.

    Arguments:
        columns: columns of the table.
        values: rows (M, D), in the file's units.

    Returns:
        Whether each value is outside (M, D); False for missing values, for categories, and where
        the range is not known.

    >>> age = Column("age", 1, low=0.0, high=99.0)
    >>> outside([age], np.array([[17.0], [-3.0], [np.nan]])).flatten().tolist()
    [False, True, False]
    """
    low, high = (
        np.array([unknown if end is None else end for end in ends])
        for ends, unknown in (
            ([c.low for c in columns], -np.inf),
            ([c.high for c in columns], np.inf),
        )
    )
    found: NDArray[np.bool_] = (values < low) | (values > high)
    return found
