"""A data set of rows in memory, split into training and validation rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noneq.data.cells import Cells
from noneq.data.dataset import DataSet, _finished
from noneq.data.kinds import Column, kind_of
from noneq.data.parts import Parts
from noneq.data.repeats import observations, parted

__all__ = ["of_array"]


def of_array(
    values: NDArray[np.float64],
    held: int,
    *,
    seed: int = 0,
    columns: Sequence[str] = (),
    texts: Mapping[int, tuple[str, ...]] = MappingProxyType({}),
) -> DataSet:
    """Split the rows of a table in memory at random, and scale them for training a model.

    Copies of a row go into the same split. Values that repeat are spread over intervals, as
    `noneq.data.load` does (`noneq.data.kinds`), but no column is left out. There
    are no test rows: the split of that name holds the validation rows, too.

    Arguments:
        values: rows (M, D) of finite numbers.
        held: number of validation rows; 0: all rows are training and validation rows at once.
        seed: seed of the random split.
        columns: names of the columns, if they have any.
        texts: categories of columns that are categories, by the index of the column; their
            values are the places of the categories, from 0.

    Returns:
        The data set, whose columns are standardised by the training rows.

    Raises:
        ValueError: there are too few rows, or values that are too far apart for float32.

    >>> rows = np.random.default_rng(0).normal(size=(50, 2))
    >>> data = of_array(rows, 10)
    >>> len(data.train), len(data.validation), data.shape
    (40, 10, (2,))
    """
    train = validation = values.copy()
    if held:
        order = np.random.default_rng(seed).permutation(len(values))
        first, second = parted(values, order, (len(values) - held, held))
        train, validation = values[first], values[second]
    cells = _cells(values, columns, texts)
    own = None if cells.trivial else cells
    parts = Parts(train, validation, validation, tuple(columns), cells=own)
    return _finished(parts, "an array", binary=False, bits=False)


def _cells(
    values: NDArray[np.float64], names: Sequence[str], texts: Mapping[int, tuple[str, ...]]
) -> Cells:
    """Find the kinds of all columns; none is left out."""
    distinct = int((observations(values) == np.arange(len(values))).sum())
    columns = []
    for j, column in enumerate(values.T):
        if j in texts:
            levels = tuple(map(float, range(len(texts[j]))))
            own: dict[str, Any] = {"kind": "category", "levels": levels, "texts": texts[j]}
        else:
            kind = kind_of(column, distinct=distinct)
            own = {"kind": "continuous"} if isinstance(kind, str) else kind
        columns.append(Column(names[j] if names else "", j + 1, **own))
    return Cells(tuple(columns))
