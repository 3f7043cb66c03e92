"""The first line of a table of text: names of columns, or a row?"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["MISSING", "NUMBER", "check_names", "is_header"]

MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")
"""What stands for a missing value, in lower case."""
NUMBER = r"(?i)^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$|^[+-]?(inf|infinity|nan)$"
"""A regular expression for numbers."""


def _is_number(word: str) -> bool:
    return bool(re.match(NUMBER, word))


def _is_text(word: str) -> bool:
    return not _is_number(word) and word.lower() not in MISSING


def is_header(first: Sequence[str], second: Sequence[str] = ()) -> bool:
    """Tell whether the first line of a table is a header.

    Arguments:
        first: its fields.
        second: the fields of the second line.

    Returns:
        True if the fields are names of columns.
    """
    words = {i for i, word in enumerate(first) if _is_text(word)}
    below = {i for i, word in enumerate(second) if _is_text(word)}
    if not words and second:  # an unnamed column of row numbers beside columns called 0, 1, ...
        return len(first) > 1 and [i for i, w in enumerate(first) if not w] == [0] and all(second)
    return bool(words) and not (words <= below and any(map(_is_number, first)))


def check_names(
    names: Sequence[str], first: Sequence[str], values: NDArray[np.float64], line: int
) -> None:
    """Raise an error for names that are numbers.

    Arguments:
        names: names of the columns, empty if the first line was taken for a row.
        first: fields of the first line.
        values: rows (M, D).
        line: number of the first line.

    Raises:
        ValueError: the first row looks like names that count up.
    """
    if not names and _count_up(first, values):
        shown = ", ".join(first[:4]) + (", ..." if len(first) > 4 else "")
        raise ValueError(
            f"line {line} ({shown}) looks like names of columns, all numbers: put a letter in "
            f"each (c{first[0]}); or, if it is a row, a line of names above it"
        )


def _count_up(first: Sequence[str], values: NDArray[np.float64]) -> bool:
    """Tell whether the first line looks like names that count up (0, 1, 2 or years)."""
    width = len(first)
    if width < 2 or len(values) < 2 or not all(word.isdecimal() for word in first):
        return False
    steps, below = np.diff(values[0]), values[1:]
    if steps[0] <= 0 or (steps != steps[0]).any() or (np.diff(below[0]) == steps).all():
        return False
    if values[0, 0] >= 1000 and values[0, -1] < 3000:
        return width > 2 or bool(steps[0] == 1)
    real = (below != np.round(below)).any(0).all()
    return bool(steps[0] == 1 and values[0, 0] <= 1 and (real or width > 3))
