"""Rows of a pandas DataFrame, with texts as the numbers of their categories, and back.

A text is given the number of its category, 0, 1, 2, ..., as ``noneq train`` does with the texts of
a csv file (`noneq.data.encoding`). This file does not import pandas unless there is a DataFrame.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noneq.data.cells import Cells
from noneq.data.kinds import NAME, kind_of_words
from noneq.data.plaintext import visible

__all__ = ["Frames"]

NAMED = 10  # categories that an error names, at most


def is_pandas(X: object) -> bool:
    """Return whether rows are a DataFrame of pandas."""
    return type(X).__module__.split(".")[0] == "pandas" and getattr(X, "ndim", 0) == 2


@dataclass(frozen=True)
class Frames:
    """Maps DataFrames with the columns of one that a model was fitted to, to numbers and back.

    Attributes:
        names: names of the columns.
        dtypes: their types.
        categories: the categories of columns of texts, or of pandas' type "category", by the
            index of the column, from 0; their numbers are their places.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"x": [0.5, 2.0, 1.0, 0.1], "city": ["Bath", "Ayr", "Bath", "Ayr"]})
    >>> frames = Frames.of(rows)
    >>> frames.encoded(rows)["city"].tolist()
    [1.0, 0.0, 1.0, 0.0]
    """

    names: tuple[Hashable, ...]
    dtypes: tuple[Any, ...]
    categories: Mapping[int, tuple[Any, ...]]

    @classmethod
    def of(cls, X: Any) -> Frames | None:
        """Find the categories of the columns of rows.

        Arguments:
            X: rows, any array-like, or a DataFrame.

        Returns:
            What is known of the columns; None if the rows are no DataFrame of pandas.

        Raises:
            ValueError: a column holds texts and numbers, texts that are no categories, or dates.
        """
        if not is_pandas(X):
            return None
        columns = [X.iloc[:, j] for j in range(X.shape[1])]
        dates = [
            visible(str(c.name), NAME) for c in columns if getattr(c.dtype, "kind", "") in "mM"
        ]
        if dates:
            raise ValueError(
                f"dates or times have no density here ({', '.join(dates)}): leave these columns "
                "out, or turn them into numbers, such as days since a date"
            )
        found = {j: _categories(c, c.name) for j, c in enumerate(columns) if _holds_texts(c)}
        return cls(tuple(X.columns), tuple(X.dtypes), found)

    @property
    def texts(self) -> dict[int, tuple[str, ...]]:
        """The categories as texts, by the index of their column."""
        return {j: tuple(map(str, found)) for j, found in self.categories.items()}

    def encoded(self, X: Any) -> Any:
        """Return rows with the numbers of categories in their place, NaN where one is missing.

        Columns of other names than those of the fit are left as they are.

        Arguments:
            X: rows, a DataFrame; or any array-like, where no column holds texts.

        Returns:
            The rows, a new DataFrame where there are texts.

        Raises:
            ValueError: a text is none of the categories of its column, or the rows are no
                DataFrame and there are texts.
        """
        if not self.categories:
            return X
        if not is_pandas(X):
            called = visible(str(self.names[min(self.categories)]))
            raise ValueError(
                f"the model was fitted to a DataFrame with texts (column {called}): give rows as "
                "a DataFrame, too"
            )
        new = X.copy()
        for j, levels in self.categories.items():
            if j < X.shape[1] and X.columns[j] == self.names[j]:
                new.isetitem(j, _codes(X.iloc[:, j], levels))
        return new

    def decoded(self, values: NDArray[np.float64]) -> NDArray[Any]:
        """Return rows with categories in the place of their numbers.

        Arguments:
            values: rows (..., D), in which no value is missing.

        Returns:
            The rows (..., D), of the type object; float64 as they are, where there are no texts.
        """
        if not self.categories:
            return values
        rows = values.astype(object)
        for j, levels in self.categories.items():
            own = np.empty(len(levels), object)
            own[:] = levels
            rows[..., j] = own[values[..., j].astype(np.int64)]
        return rows

    def frame(self, values: NDArray[np.float64], cells: Cells | None) -> Any:
        """Make a DataFrame of rows, with the names and types of the columns of the fit.

        Arguments:
            values: rows (M, D).
            cells: kinds of the columns; None: all are continuous.

        Returns:
            The DataFrame. Columns of integers or truth values whose kind is continuous are
            float64, and those of integers int64 where a value is beyond their type.
        """
        import pandas as pd

        rows = self.decoded(values)
        frame = pd.DataFrame({j: rows[:, j] for j in range(len(self.names))})
        whole = [c.whole or bool(c.levels) for c in cells.columns] if cells is not None else []
        for j, dtype in enumerate(self.dtypes):
            kind = getattr(dtype, "kind", "O")
            if kind in "iub" and not (whole and whole[j]):
                dtype = np.dtype("float64")
            elif kind in "iu" and len(values):
                narrow = np.iinfo(getattr(dtype, "numpy_dtype", dtype))
                low, high = values[:, j].min(), values[:, j].max()
                dtype = dtype if narrow.min <= low and high <= narrow.max else np.dtype("int64")
            frame.isetitem(j, frame.iloc[:, j].astype(dtype))
        frame.columns = pd.Index(self.names)
        return frame


def _holds_texts(column: Any) -> bool:
    """Return whether a column holds categories of pandas, or texts; ValueError if also numbers."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return True
    if getattr(column.dtype, "kind", "O") not in "OTUS":
        return False
    are = {isinstance(value, str) for value in column.dropna().unique()}
    if are == {True, False}:
        raise ValueError(
            f"column {visible(str(column.name))} holds texts and numbers: convert all of it to one"
        )
    return are == {True}


def _categories(column: Any, name: Hashable) -> tuple[Any, ...]:
    """Return the categories that are there, in pandas' order, or texts in increasing order."""
    known, order = set(column.dropna().unique()), getattr(column.dtype, "categories", None)
    if order is not None:  # whose user has said what they are
        return tuple(one for one in order if one in known)
    levels = tuple(sorted(known))
    found = kind_of_words(np.zeros(int(column.notna().sum()), np.int64), levels)
    if isinstance(found, str) and found != "constant":
        raise ValueError(
            f"column {visible(str(name))}: {found}: drop it, or make it of pandas' type "
            "'category' if it is one"
        )
    return levels


def _codes(column: Any, levels: Sequence[Any]) -> NDArray[np.float64]:
    """Return the numbers of categories (M,), NaN where one is missing."""
    numbers = {one: float(k) for k, one in enumerate(levels)}
    missing = column.isna().to_numpy(dtype=bool)
    other = [v for v, gap in zip(column, missing, strict=True) if not gap and v not in numbers]
    if other:
        rest = ", ..." if len(levels) > NAMED else ""
        raise ValueError(
            f"column {visible(str(column.name))}: {visible(repr(other[0]))} is none of the "
            f"categories that the model was fitted to ({len(other):,} of {len(column):,} rows "
            f"have such): " + ", ".join(visible(repr(one)) for one in levels[:NAMED]) + rest
        )
    own = [np.nan if gap else numbers[v] for v, gap in zip(column, missing, strict=True)]
    return np.array(own, dtype=np.float64)
