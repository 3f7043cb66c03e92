"""Conversion of texts on the command line to times, lists and choices of columns."""

from __future__ import annotations

import csv
import re
from typing import Any

__all__ = ["integers", "length", "names", "seconds", "table_choice"]


def seconds(text: str) -> float:
    """Convert a time such as 120s, 20m or 2h to seconds.

    Arguments:
        text: time, a number and a unit; without a unit it is in seconds.

    Returns:
        The number of seconds.

    Raises:
        ValueError: the text is not a time, or 0.
    """
    found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smh]?)", text.strip())
    if not found or not float(found[1]):
        raise ValueError(f"--budget {text}: a time like 120s, 20m or 2h is meant")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def length(budget: str, iterations: int | None) -> dict[str, float | None]:
    """Convert the length of a training, in time or in iterations, to settings.

    Arguments:
        budget: time, such as "20m"; empty: it is not given.
        iterations: number of iterations; None: it is not given.

    Returns:
        The settings that are given, by name.

    Raises:
        ValueError: both are given, or the time cannot be read.
    """
    if budget and iterations is not None:
        raise ValueError("--budget and --iterations are two lengths of one training: give one")
    if budget:
        return {"seconds": seconds(budget), "iterations": None}
    return {} if iterations is None else {"iterations": iterations}


def integers(text: str) -> tuple[int, ...] | None:
    """Convert a list such as 2,3,6 to integers.

    Arguments:
        text: list of integers separated by commas or spaces.

    Returns:
        The integers; None if the text is empty.

    Raises:
        ValueError: the text is not a list of integers.
    """
    if not text:
        return None
    try:
        return tuple(int(word) for word in text.replace(" ", ",").split(",") if word)
    except ValueError:
        raise ValueError(
            f"{text}: integers with commas between them are meant, as 2,3,6"
        ) from None


def names(text: str) -> tuple[str, ...]:
    """Convert a list such as age,height to names; one with a comma in it stands in quotes.

    Arguments:
        text: names with commas between them.

    Returns:
        The names, without spaces around them.
    """
    rows = csv.reader([text], skipinitialspace=True)
    return tuple(name.strip() for row in rows for name in row if name.strip())


def table_choice(
    columns: str, drop: str, categories: str, continuous: str, grid: str, missing: str
) -> dict[str, Any]:
    """Collect the choices of a table's columns that were given, for `noneq.data.load`.

    Arguments:
        columns: list of the columns to train on.
        drop: list of the columns to leave out.
        categories: list of the columns whose values are categories.
        continuous: list of the columns with densities.
        grid: list of the columns whose values are on a grid.
        missing: what to do with missing values.

    Returns:
        A dictionary of tuples of names, and of "drop" for ``missing``, without what is not given.
    """
    lists = {
        "columns": columns, "drop": drop, "categories": categories, "continuous": continuous,
        "grid": grid,
    }  # fmt: skip
    own: dict[str, Any] = {key: found for key, text in lists.items() if (found := names(text))}
    return own if missing == "refuse" else {**own, "missing": missing}
