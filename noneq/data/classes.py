"""Rows of some classes only, a given number of each: small sets with known proportions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Counts", "choose", "count", "share", "thinned", "wanted", "whole"]

Counts = dict[int, int]  # class -> rows


def whole(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Labels (M,) as integers; ValueError where they are none."""
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
    """The classes there are, in order, with their numbers of rows."""
    values, numbers = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def wanted(
    labels: NDArray[np.int64], classes: Sequence[int] | None, subset: Sequence[int] | None
) -> Counts:
    """How many rows of which class are asked for; ValueError where that cannot be.

    Without ``classes`` all of them, in order; without ``subset`` every row of theirs.
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
    """So many random rows of each class: their indices, in the order of the file."""
    chosen = [np.empty(0, dtype=np.int64)]
    for c, number in counts.items():
        rows = np.flatnonzero(labels == c)
        order = torch.randperm(len(rows), generator=rng, device="cpu").numpy()
        chosen.append(rows[order[:number]])
    return np.sort(np.concatenate(chosen))


def share(number: int, there: Sequence[int]) -> list[int]:
    """``number`` things in proportion to those in each part, summing to it exactly.

    By largest remainders; no part gives more than it has.

    >>> share(10, [70, 10, 20])
    [7, 1, 2]
    """
    exact = [number * part / max(sum(there), 1) for part in there]
    given = [int(e) for e in exact]
    by_remainder = sorted(range(len(there)), key=lambda i: given[i] - exact[i])
    for i in by_remainder[: number - sum(given)]:
        given[i] += 1
    return given


def thinned(counts: Counts, there: Counts) -> Counts:
    """The proportions of ``counts`` kept, as many as ``there`` allows.

    >>> thinned({2: 800, 3: 400}, {2: 1000, 3: 1000})
    {2: 1000, 3: 500}
    """
    most = min(there.get(c, 0) / number for c, number in counts.items())
    return {c: min(round(most * number), there.get(c, 0)) for c, number in counts.items()}
