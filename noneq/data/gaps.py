"""Reading of rows of which some values are missing, to be filled in by a trained model."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noneq.data.npy import npy
from noneq.data.scaling import Scaling
from noneq.data.selection import existing, naming

__all__ = ["Gaps", "rows_with_gaps"]


class Gaps(NamedTuple):
    """Holds rows with missing values, in the units of the file and in those of a model.

    Attributes:
        values: the rows (M, *shape), float64, as the file has them, NaN where a value is missing.
        x: the rows (M, *shape), float32, in the model's units, NaN where a value is missing.
    """

    values: NDArray[np.float64]
    x: Tensor


def rows_with_gaps(
    source: str | Path,
    shape: Sequence[int],
    scaling: Scaling,
    *,
    columns: Sequence[str] = (),
) -> Gaps:
    """Read rows for a trained model, of which some values are missing.

    In a file of text (.csv, .tsv or .txt, with a separator other than spaces) blank cells are
    missing; in an .npy file NaN is.

    Arguments:
        source: the path.
        shape: the shape of one row of the model's training data.
        scaling: the scaling of the data set that the model was trained on.
        columns: the names of the columns that the model was trained on. If the file has names of
            columns, too, these columns are taken from it, in this order.

    Returns:
        The rows, in the units of the file and of the model.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the model has categories, the rows have another shape or lack a column, or
            a cell that is not blank is not a finite number.
    """
    path = existing(source)
    for j, column in enumerate(scaling.cells.columns if scaling.cells else ()):
        if column.levels:
            raise ValueError(
                f"column {column.name or j + 1} holds categories, and missing values are drawn "
                "only where all columns hold numbers: train without it (`drop`)"
            )
    with naming(source):
        if path.suffix.lower() == ".npy":
            values = npy(path)
            if values.dtype.kind not in "fiub":
                raise ValueError(f"holds {values.dtype}, not numbers")
            values = values.astype(np.float64)
        elif path.suffix.lower() in (".csv", ".tsv", ".txt"):
            values = _text(path, columns)
        else:
            raise ValueError("rows with missing values are read from .csv, .tsv, .txt or .npy")
        if values.shape[1:] != tuple(shape) and values.shape[1:] == tuple(shape)[1:]:
            values = values[:, None]  # images of one channel
        if values.shape[1:] != tuple(shape):
            raise ValueError(f"rows of shape {values.shape[1:]}, the model takes {tuple(shape)}")
        if np.isinf(values).any():
            raise ValueError("holds infinite values")
        return Gaps(values, _scaled(scaling, torch.from_numpy(values)))


def _scaled(scaling: Scaling, values: Tensor) -> Tensor:
    """Convert rows to the model's units; what is missing stays NaN."""
    missing = values.isnan()
    x = scaling.apply(torch.where(missing, scaling.shift, values))
    if not bool(torch.isfinite(x).all()):
        raise ValueError("a value is too far from the training rows for float32; leave it out")
    return x.masked_fill(missing, math.nan)


def _text(path: Path, columns: Sequence[str]) -> NDArray[np.float64]:
    """Read a table of text, and select the model's columns by name if both have names."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("not text in UTF-8: save it with that encoding") from error
    kept = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    if not kept:
        raise ValueError("the file holds no rows")
    separator = next((mark for mark in "\t;," if mark in kept[0]), ",")
    rows = list(csv.reader(kept, delimiter=separator, skipinitialspace=True))
    names = [word.strip() for word in rows[0]]
    headed = not all(_is_number(word) or not word for word in names)
    body = rows[1:] if headed else rows
    if not body:
        raise ValueError("a header, and no rows below it")
    wrong = next((i for i, row in enumerate(body) if len(row) != len(names)), None)
    if wrong is not None:
        raise ValueError(f"row {wrong + 1} has {len(body[wrong])} cells, others {len(names)}")
    order = list(range(len(names)))
    if headed and columns and len({*names}) == len(names):
        lacking = [repr(name) for name in columns if name not in names]
        if lacking:
            raise ValueError(
                f"no column {', '.join(lacking[:5])}, which the model takes: where its values are "
                "missing, leave its cells blank"
            )
        order = [names.index(name) for name in columns]
    table = [[_number(row[j], i, names[j] if headed else str(j + 1)) for j in order]
             for i, row in enumerate(body, 1)]  # fmt: skip
    return np.array(table, dtype=np.float64)


def _is_number(word: str) -> bool:
    try:
        return bool(np.isfinite(float(word)))
    except ValueError:
        return False


def _number(word: str, row: int, column: str) -> float:
    """Convert a cell to a number, NaN if it is blank; ValueError for anything else."""
    word = word.strip()
    if not word:
        return math.nan
    if not _is_number(word):
        raise ValueError(
            f"row {row}, column {column}: {word[:40]!r} is not a number; leave the cell of a "
            "missing value blank"
        )
    return float(word)
