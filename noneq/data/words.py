"""Columns of texts, collected while a table is read piece by piece."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["Collector", "Words"]

MOST = 10_000  # different texts of a column that are kept


class Words(NamedTuple):
    """The texts of a column.

    Attributes:
        codes: index of each row's text (M,), -1 where it is missing.
        texts: the different texts, in increasing order; empty if the column holds something else,
            or more different texts than are kept.
        what: what the column holds, "text" or e.g. "date32[day]".
        numbers: share of the values that are numbers.
    """

    codes: NDArray[np.int64]
    texts: tuple[str, ...]
    what: str = "text"
    numbers: float = 0.0


class Collector:
    """Collects the texts of a column, until there are too many different ones.

    Arguments:
        what: what the column holds.
    """

    def __init__(self, what: str = "text") -> None:
        self.what = what
        self.pieces: list[Any] = []
        self.rows = self.numbers = 0
        self.missing: list[NDArray[np.bool_]] = []
        self.known = pa.array([], pa.string())

    def add(self, words: Any, numbers: int = 0) -> None:
        """Add the texts of some more rows.

        Arguments:
            words: Arrow array of strings, null where they are missing.
            numbers: how many of them are numbers.
        """
        self.rows += len(words)
        self.numbers += numbers
        self.missing.append(words.is_null().to_numpy(zero_copy_only=False))
        if self.what != "text":
            return
        self.known = pc.unique(pa.concat_arrays([self.known, pc.drop_null(words)]))
        if len(self.known) > MOST:
            self.what, self.pieces = f"text, over {MOST:,} different ones", []
        else:
            self.pieces.append(words)

    def words(self) -> Words:
        """Return the texts of all rows."""
        missing = np.concatenate([np.empty(0, bool), *self.missing])
        numbers = self.numbers / max(1, self.rows - int(missing.sum()))
        if self.what != "text":
            return Words(np.where(missing, -1, 0), (), self.what, numbers)
        texts = sorted(self.known.to_pylist())
        codes = pc.index_in(
            pa.chunked_array(self.pieces, pa.string()), pa.array(texts, pa.string())
        )
        return Words(
            codes.fill_null(-1).to_numpy().astype(np.int64), tuple(texts), "text", numbers
        )
