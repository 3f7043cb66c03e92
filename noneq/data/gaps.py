"""Reading of rows of which some values are missing, to be filled in by a trained model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noneq.data.files import Frame
from noneq.data.kinds import Column
from noneq.data.readers import Raw, read_raw
from noneq.data.scaling import Scaling
from noneq.data.selection import existing, naming
from noneq.data.units import arranged, matched

__all__ = ["Gaps", "check_apart", "rows_with_gaps"]

POINTS = 20_000  # draws of rows with missing values, at most


class Gaps(NamedTuple):
    """Holds rows with missing values, in the units of the file and in those of a model.

    Attributes:
        values: the rows (M, *shape), float64, as the file has them, NaN where a value is missing;
            texts are the numbers of their categories, from 0.
        x: the rows (draws M, *shape), float32, in the model's units, NaN where a value is missing:
            the first draw of all rows, the second, ...
    """

    values: NDArray[np.float64]
    x: Tensor


def check_apart(scaling: Scaling) -> None:
    """Check that a known value of a column is a known value of a model's coordinate.

    Arguments:
        scaling: scaling of the model.

    Raises:
        ValueError: the coordinates are those of a flow, each of which mixes several columns.
    """
    if scaling.flow is not None:
        raise ValueError(
            "missing values cannot be filled in by a model in the coordinates of a spline flow, "
            "each of which mixes several columns: train a model without `spline_flow` for this"
        )


def rows_with_gaps(
    source: str | Path | Frame,
    shape: Sequence[int],
    scaling: Scaling,
    *,
    columns: Sequence[str] = (),
    seed: int = 0,
    name: str = "",
    draws: int = 1,
) -> Gaps:
    """Read rows for a trained model, of which some values are missing.

    In a table, blank cells are missing, and what `noneq.data.load` takes for a missing value (NA,
    nan, ?); in an array NaN is. Values that repeat are drawn from their intervals, once for each
    row (`noneq.data.cells`).

    Arguments:
        source: a path, or a table in memory, as for `noneq.data.read`.
        shape: the shape of one row of the model's training data.
        scaling: the scaling of the data set that the model was trained on.
        columns: the names of the columns that the model was trained on. If the source has names of
            columns, too, these columns are taken from it, in this order.
        seed: seed of the draws from intervals.
        name: name of the source in error messages; default: its path or kind.
        draws: number of times that values which repeat are drawn from their intervals, at most;
            fewer for more than some hundred rows with missing values, and 1 where none repeats.

    Returns:
        The rows, in the units of the file and of the model.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the rows have another shape, lack a column, or have a category that the
            model does not know, or a cell that is not missing is not a finite number, or if the
            model's coordinates are those of a flow.

    >>> import pyarrow
    >>> table = pyarrow.table({"a": [3.0, None], "b": [None, 20.0]})
    >>> shift, scale = torch.tensor([[1.0, 10.0], [2.0, 5.0]], dtype=torch.float64)
    >>> rows_with_gaps(table, (2,), Scaling(shift, scale), columns=("a", "b")).x.tolist()
    [[1.0, nan], [nan, 2.0]]
    """
    check_apart(scaling)
    raw = read_raw(source if isinstance(source, Frame) else existing(source), loose=True)
    with naming(name or source):
        if raw.values.ndim == 2:
            cells = scaling.cells and scaling.cells.columns
            own = cells or [Column(name, i + 1) for i, name in enumerate(columns)]
            raw = _first_row(raw, columns)
            raw = raw._replace(values=_table(raw, own))
        values = arranged(raw.values).astype(np.float64)
        if values.shape[1:] != tuple(shape):
            raise ValueError(f"rows of shape {values.shape[1:]}, the model takes {tuple(shape)}")
        if np.isinf(values).any():
            raise ValueError("holds infinite values")
        if not scaling.spreads:
            draws = 1
        gaps = max(1, int(np.isnan(values).reshape(len(values), -1).any(1).sum()))
        rng = torch.Generator("cpu").manual_seed(seed + 1)  # not the stream of what is filled in
        each = [
            _scaled(scaling, torch.from_numpy(values), rng)
            for _ in range(max(1, min(draws, POINTS // gaps)))
        ]
        return Gaps(values, torch.cat(each))


def _table(raw: Raw, columns: Sequence[Column]) -> NDArray[np.float64]:
    return matched(raw, columns, gaps=True).astype(np.float64)


def _first_row(raw: Raw, columns: Sequence[str]) -> Raw:
    """Give a first row back that was taken for names, as its first cell is blank."""
    names = raw.columns
    if len(names) < 2 or names[0] != "1" or not {*names}.isdisjoint(columns):
        return raw
    try:
        first = [math.nan, *(float(name) for name in names[1:])]
    except ValueError:
        return raw
    return raw._replace(values=np.concatenate([[first], raw.values]), columns=())


def _scaled(scaling: Scaling, values: Tensor, rng: torch.Generator) -> Tensor:
    """Convert rows to the model's units; what is missing stays NaN."""
    missing, known = values.isnan(), scaling.shift
    if scaling.cells is not None:  # any value will do, but must be a category where those are
        columns = zip(scaling.cells.columns, known.tolist(), strict=True)
        known = torch.tensor([c.levels[0] if c.levels else shift for c, shift in columns])
    x = scaling.apply(torch.where(missing, known.to(values), values), rng)
    if not bool(torch.isfinite(x).all()):
        raise ValueError("a value is too far from the training rows for float32; leave it out")
    return x.masked_fill(missing, math.nan)
