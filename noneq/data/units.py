"""Conversion of rows of a source to the units of a model.

`rows_like` reads new rows for a trained model.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noneq.data.classes import whole
from noneq.data.files import Frame
from noneq.data.kinds import Column
from noneq.data.parts import Array
from noneq.data.readers import LABELS, Raw, read_raw
from noneq.data.scaling import Scaling
from noneq.data.selection import checked, existing, naming
from noneq.data.tables import Selected, check_faults, complete_rows, keep_columns
from noneq.data.words import Words

__all__ = ["Like", "arranged", "matched", "read_like", "rows_like", "rows_of", "scaled"]


def rows_like(
    source: str | Path | Frame,
    shape: Sequence[int],
    scaling: Scaling,
    *,
    columns: Sequence[str] = (),
    draws: int = 1,
) -> Tensor:
    """Read new rows for a trained model, scaled in the same way as its training rows.

    Arguments:
        source: a path, or a table in memory, as for `noneq.data.read`.
        shape: the shape of one row of the model's training data.
        scaling: the scaling of the data set that the model was trained on.
        columns: the names of the columns that the model was trained on, see `read_like`.
        draws: number of times that repeated values are drawn from their intervals
            (`noneq.data.cells`), if the scaling has any.

    Returns:
        The scaled rows, float32 (draws M, *shape), the first draw of all rows first.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the rows do not fit the model, see `read_like`, or a value is too far from
            the training rows.
    """
    found = read_like(source, shape, scaling, columns=columns)
    with naming(source):
        return rows_of(scaling, found, draws)


class Like(NamedTuple):
    """Holds new rows for a trained model, in the units of the file.

    Attributes:
        values: rows (M, *shape); categories are numbered from 0.
        labels: labels (M,) of images, int64, where the model is conditional on them and the
            source has them; else None.
    """

    values: Array
    labels: Array | None = None


def rows_of(scaling: Scaling, found: Like, draws: int = 1) -> Tensor:
    """Convert new rows to the model's units, with their labels if they have any.

    Arguments:
        scaling: scaling of the model.
        found: rows that `read_like` returned.
        draws: number of times that repeated values are drawn from their intervals.

    Returns:
        The rows, float32 (draws M, *shape).

    Raises:
        ValueError: a value is too far from the training rows, or labels that the model needs are
            missing or not the model's.
    """
    x = scaled(scaling, found.values, draws if scaling.spreads else 1)
    if scaling.labels is None:
        return x
    if found.labels is None:
        raise ValueError(
            "no labels beside the images, and the model is one of images given their labels: it "
            f"takes an .npz file's array named {', '.join(LABELS[:-1])} or {LABELS[-1]}, or the "
            "file ...labels-idx1-ubyte beside IDX images"
        )
    return scaling.labels.join(x, found.labels)


def read_like(
    source: str | Path | Frame,
    shape: Sequence[int],
    scaling: Scaling,
    *,
    columns: Sequence[str] = (),
) -> Like:
    """Read new rows for a trained model, in the units of the file.

    Columns of the source that the model does not take may hold anything.

    Arguments:
        source: a path, or a table in memory, as for `noneq.data.read`.
        shape: the shape of one row of the model's training data.
        scaling: the scaling of the data set that the model was trained on.
        columns: the names of the columns that the model was trained on. If the source has names
            of columns, too, these columns are taken from it, in this order.

    Returns:
        The rows, and the labels of images if the model needs them.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the rows have another shape, lack a column, or have missing values, or
            texts that are none of the categories of the training rows.
    """
    raw = read_raw(source if isinstance(source, Frame) else existing(source), loose=True)
    with naming(source):
        if raw.values.ndim == 2:
            cells = scaling.cells and scaling.cells.columns
            own = cells or [Column(name, i + 1) for i, name in enumerate(columns)]
            raw = raw._replace(values=matched(raw, own))
        values = arranged(checked(raw).values)
        found, wants = values.shape[1:], scaling.labels.shape if scaling.labels else tuple(shape)
        if found != wants:
            hint = "; reshape them" if np.prod(found) == np.prod(wants) else ""
            raise ValueError(f"rows of shape {found}, the model takes {wants}{hint}")
        low, high = float(values.min()), float(values.max())
        if scaling.threshold is not None and low < high <= scaling.threshold:
            raise ValueError(
                f"no value is above {scaling.threshold:g}, where the model's rows turn from 0 to "
                f"1 (the largest is {high:g}): give rows in the units it was trained on"
            )
        named = None if scaling.labels is None else raw.labels
        return Like(values, None if named is None else whole(named))


def arranged(values: Array) -> Array:
    """Arrange the axes of an array of rows.

    Arguments:
        values: a table (M, D), or images of any layout.

    Returns:
        The table as it is, or the images as (M, C, H, W).

    Raises:
        ValueError: if the array has another shape.
    """
    if values.ndim == 2:
        return values
    if values.ndim == 3:
        return values[:, None]
    if values.ndim == 4 and values.shape[1] in (1, 3, 4):
        return values
    if values.ndim == 4 and values.shape[3] in (1, 3, 4):
        return np.moveaxis(values, 3, 1)
    raise ValueError(
        f"an array of shape {values.shape} is neither a table (M, D) nor images (M, H, W), "
        "(M, C, H, W) or (M, H, W, C) with C = 1, 3 or 4 channels"
    )


def scaled(scaling: Scaling, values: Array, draws: int = 1, seed: int = 0) -> Tensor:
    """Convert rows to the model's units.

    Arguments:
        scaling: the scaling of the model.
        values: rows (M, *shape) in the file's units.
        draws: number of times that repeated values are drawn from their intervals.
        seed: seed of these draws.

    Returns:
        The scaled rows, float32 (draws M, *shape): the first draw of all rows, the second, ...

    Raises:
        ValueError: if a value is too far from the training rows for float32.
    """
    rng = torch.Generator("cpu").manual_seed(seed)
    rows = torch.from_numpy(np.ascontiguousarray(values))
    rows = torch.cat([scaling.apply(rows, rng) for _ in range(draws)])
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("a value is too far from the training rows for float32; drop its row")
    return rows


def matched(raw: Raw, columns: Sequence[Column], *, gaps: bool = False) -> NDArray[Any]:
    """Take the columns of a trained model from new rows, with texts as numbers of categories.

    Arguments:
        raw: table, read loosely.
        columns: columns of the model; they are taken by name if both have names, by position if
            there are as many of them, else by their position in the data that were trained on.
        gaps: whether values may be missing.

    Returns:
        The values (M, D), NaN where one is missing.

    Raises:
        ValueError: a column is missing, or has unknown categories, or missing values that it must
            not have.
    """
    names, width = raw.columns, raw.values.shape[1]
    if not columns:
        _check(raw, range(width), gaps=gaps)
        found = Selected(raw, tuple(range(width)))
        return (found if gaps else complete_rows(found, None)).raw.values
    own = [c.name for c in columns]
    if names and all(own) and len({*names}) == len(names) and len({*own}) == len(own):
        lacking = [repr(c.name) for c in columns if c.name not in names]
        if lacking:
            many = "columns" if len(lacking) > 1 else "column"
            raise ValueError(
                f"no {many} {', '.join(lacking[:5])}, which the model takes{_near(own, names)}; "
                f"the file's are {', '.join(map(repr, names[:20]))}"
            )
        keep = [names.index(c.name) for c in columns]
    elif width == len(columns):
        keep = list(range(width))
    elif [c.number for c in columns] != list(range(1, len(columns) + 1)) and width >= max(
        c.number for c in columns
    ):
        keep = [c.number - 1 for c in columns]
    else:
        return raw.values  # of a wrong shape
    _check(raw, [i for i, c in zip(keep, columns, strict=True) if not c.texts], gaps=gaps)
    found = keep_columns(Selected(raw, tuple(range(width))), keep)
    values = (found if gaps else complete_rows(found, None)).raw.values
    if any(c.texts for c in columns):
        values = values.astype(np.float64, copy=True)
    for k, column in enumerate(columns):
        if column.texts:
            values[:, k] = _codes(column, raw.words.get(keep[k]), values[:, k])
    return values


def _near(own: Sequence[str], names: Sequence[str]) -> str:
    """Suggest the name that a missing column may have in the file."""
    lacking = next(name for name in own if name not in names)
    near = difflib.get_close_matches(lacking, [name for name in names if name not in own], 1, 0.6)
    return f" (is {lacking!r} the file's {near[0]!r}?)" if near else ""


def _check(raw: Raw, numbers: Sequence[int], *, gaps: bool) -> None:
    """Raise ValueError for text in columns of numbers."""
    if not gaps:
        check_faults(raw, numbers, None)
    elif fault := raw.faults and raw.faults.among("words", numbers):
        where = str(fault).rpartition(": ")[0]
        raise ValueError(f"{where}, and the model takes numbers there; a missing value is blank")


def _codes(column: Column, words: Words | None, values: NDArray[Any]) -> NDArray[Any]:
    """Return the numbers of the categories of texts (M,), NaN where a text is missing."""
    if words is None:
        found, codes = np.unique(values, return_inverse=True)
        texts: Sequence[str] = [f"{v:g}" for v in found]
        codes = np.where(np.isnan(values), -1, codes)
    else:
        texts, codes = words.texts, words.codes
    own: Mapping[str, int] = {text: i for i, text in enumerate(column.texts)}
    there = np.unique(codes[codes >= 0])
    other = [texts[i] for i in there.tolist() if texts[i] not in own]
    if other:
        known = ", ".join(map(repr, column.texts[:20]))
        raise ValueError(f"{column.called}: {other[0]!r} is none of its categories: {known}")
    table = np.array([*(own.get(text, np.nan) for text in texts), np.nan])  # its last: missing
    numbers: NDArray[Any] = table[codes]
    return numbers
