"""Columns that identify the rows of a table, and say nothing else of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["DIFFERENT", "identifies", "is_identifier", "is_whole"]

DIFFERENT = "text, different in every row"
"""Why a column of texts, each of which is there once, is left out."""
NUMBERS, WHOLE = "numbers the rows", "whole numbers, different in every row"

NUMBERED = 10  # rows that a column must have to identify them
UNLIKELY = 15.0  # nats; that no integer is repeated by chance has a log-probability below - 15


def identifies(values: NDArray[np.float64]) -> str:
    """Tell whether a column of integers identifies the rows.

    That is so if its integers are consecutive, in any order; or if no value is repeated although,
    of n independent draws from R integers of any distribution, none is repeated with a probability
    of at most ``exp(-n (n - 1) / 2 R)`` (the birthday problem), which is below ``exp(-15)``.
    Integers in equal steps, such as times, may be an axis, and do not count.

    Arguments:
        values: the values (M,).

    Returns:
        The reason to leave the column out, e.g. "numbers the rows"; empty if it is none, or of
        fewer than ten rows.

    >>> identifies(np.random.default_rng(0).permutation(900)[:400] + 5000.0)
    'whole numbers, different in every row'
    """
    n = len(values)
    if n < NUMBERED or not is_whole(values):
        return ""
    cells = float(values.max() - values.min()) + 1
    if cells < n or (cells > n and n * (n - 1) / 2 < UNLIKELY * cells):
        return ""
    steps = np.diff(np.sort(values))
    if not steps.all():
        return ""
    if cells == n:
        return NUMBERS
    return "" if (steps == steps[0]).all() else WHOLE


def is_identifier(why: str) -> bool:
    """Tell whether a column was left out of a training as an identifier of the rows.

    Arguments:
        why: the reason for which it was left out, as in `noneq.data.kinds.LeftOut`.

    Returns:
        True if its numbers or texts are different in every row, or its texts are too many to be
        compared; False for other texts, dates, and constant or empty columns.
    """
    return why in (NUMBERS, WHOLE, DIFFERENT) or why.startswith("text, over ")


def is_whole(values: NDArray[np.float64]) -> bool:
    """Tell whether numbers are integers.

    Arguments:
        values: the values (M,).

    Returns:
        True if all of them are.
    """
    return bool((values == np.rint(values)).all())
