"""Selection of rows by their class labels, with a given number of rows from each class.

Labels are converted to integers (`whole`) and counted (`count`); the number of rows asked for is
checked (`wanted`), adapted to several splits (`share`, `thinned`), and rows are drawn (`choose`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Counts", "choose", "count", "share", "thinned", "wanted", "whole"]

Counts = dict[int, int]
"""The number of rows of each class: a dictionary from class labels to numbers."""


def whole(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Convert class labels to integers, and raise an error for labels that are not whole numbers.

    Arguments:
        labels: class labels (M,), an array of any type.

    Returns:
        The labels as int64 (M,).

    Raises:
        ValueError: if a label is not a whole number.
    """
    if labels.dtype.kind in "iub":
        return labels.astype(np.int64)
    with np.errstate(invalid="ignore"):
        fine = labels.dtype.kind == "f" and (labels == np.round(labels)) & np.isfinite(labels)
    if not np.all(fine):
        row = int(np.argmin(fine)) if labels.dtype.kind == "f" else 0
        raise ValueError(
            f"labels are whole numbers, got {labels[row].item()!r} (row {row}): "
            "encode them as 0, 1, 2, ..."
        )
    return labels.astype(np.int64)


def count(labels: NDArray[np.int64]) -> Counts:
    """Count the rows of each class.

    Arguments:
        labels: class labels of the rows (M,).

    Returns:
        A dictionary from each class to its number of rows, classes in increasing order.
    """
    values, numbers = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def wanted(
    labels: NDArray[np.int64], classes: Sequence[int] | None, subset: Sequence[int] | None
) -> Counts:
    """Work out how many rows of each class are asked for, and check that the data have so many.

    Arguments:
        labels: class labels of all rows of the data (M,).
        classes: the classes asked for; None: all, in increasing order.
        subset: the number of rows asked for from each of these classes; None: all rows.

    Returns:
        A dictionary from each class asked for to the number of rows to take.

    Raises:
        ValueError: if a class does not exist, is named twice, or has too few rows, or if
            ``classes`` and ``subset`` have different lengths.
    """
    there = count(labels)
    asked = list(there) if classes is None else [int(c) for c in classes]
    if not asked:
        raise ValueError("classes is empty: name one or more")
    for c in asked:
        if c not in there:
            raise ValueError(f"class {c} is not there; the classes and their rows: {_list(there)}")
        if asked.count(c) > 1:
            raise ValueError(f"class {c} is asked for twice")
    if subset is None:
        return {c: there[c] for c in asked}
    if len(subset) != len(asked):
        raise ValueError(
            f"{len(asked)} classes ({', '.join(map(str, asked[:20]))}) and {len(subset)} in "
            "subset: give a number of rows for each class"
        )
    for c, number in zip(asked, subset, strict=True):
        if number < 1:
            raise ValueError(f"class {c}: {number} rows asked for; leave the class out, or take 1")
        if number > there[c]:
            raise ValueError(f"class {c}: {number} asked for, {there[c]} there")
    return dict(zip(asked, map(int, subset), strict=True))


def _list(there: Counts) -> str:
    shown = ", ".join(f"{c} ({number:,})" for c, number in list(there.items())[:20])
    return shown + (f" and {len(there) - 20} more" if len(there) > 20 else "")


def choose(
    labels: NDArray[np.int64], counts: Mapping[int, int], rng: torch.Generator
) -> NDArray[np.int64]:
    """Draw a given number of random rows of each class, without replacement.

    Arguments:
        labels: class labels of all rows (M,).
        counts: the number of rows to draw of each class, a dictionary from classes to numbers.
        rng: random generator on the CPU.

    Returns:
        The indices of the rows drawn, int64 (sum of ``counts``,), in increasing order.
    """
    chosen = [np.empty(0, dtype=np.int64)]
    for c, number in counts.items():
        rows = np.flatnonzero(labels == c)
        order = torch.randperm(len(rows), generator=rng, device="cpu").numpy()
        chosen.append(rows[order[:number]])
    return np.sort(np.concatenate(chosen))


def share(number: int, there: Sequence[int]) -> list[int]:
    """Divide a number of rows among parts in proportion to their sizes, by largest remainders.

    Each part gets its exact share rounded down; rows that remain go to the parts with the largest
    fractions.

    >>> share(10, [70, 10, 20])
    [7, 1, 2]

    Arguments:
        number: the number of rows to divide, at most the sum of ``there``.
        there: the numbers of rows available in the parts.

    Returns:
        One integer for each part, at most the part's size; they sum to ``number``.
    """
    exact = [number * part / max(sum(there), 1) for part in there]
    given = [int(e) for e in exact]
    by_remainder = sorted(range(len(there)), key=lambda i: given[i] - exact[i])
    for i in by_remainder[: number - sum(given)]:
        given[i] += 1
    return given


def thinned(counts: Counts, there: Counts) -> Counts:
    """Scale numbers of rows per class by one factor, the largest for which enough rows exist.

    >>> thinned({2: 800, 3: 400}, {2: 1000, 3: 1000})
    {2: 1000, 3: 500}

    Arguments:
        counts: the number of rows of each class, whose proportions are kept.
        there: the number of available rows of each class.

    Returns:
        A dictionary from each class of ``counts`` to the number of rows to take.
    """
    most = min(there.get(c, 0) / number for c, number in counts.items())
    return {c: min(round(most * number), there.get(c, 0)) for c, number in counts.items()}
