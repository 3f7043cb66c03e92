"""Where the rows of a file stand in it, and the columns that identify them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from noneq.data.identifiers import is_identifier
from noneq.data.kinds import NAME, LeftOut
from noneq.data.plaintext import visible
from noneq.data.readers import read_raw

__all__ = ["Origin", "origin_of"]


class Origin(NamedTuple):
    """Holds where each row stands in its file, and what identifies it.

    Attributes:
        unit: what ``numbers`` count: "line" for a text file, else "row".
        numbers: the line in which each row begins, or the number of the row (M,), from 1.
        identifiers: the M texts of each column that identifies the rows, by its name.
    """

    unit: Literal["line", "row"]
    numbers: NDArray[np.int64]
    identifiers: Mapping[str, Sequence[str]]


def origin_of(source: Path, rows: int, left_out: Sequence[LeftOut], width: int) -> Origin:
    """Find where the rows of a file stand, and read the columns that identify them.

    Such a column is one that was left out of the training as an identifier of the rows
    (`noneq.data.identifiers.is_identifier`). It is found by its name, or by its number if the
    columns have no names.

    Arguments:
        source: the file, or a folder of images, which has been read.
        rows: number of rows that were read from it.
        left_out: columns that were left out of the training.
        width: number of columns that the model takes; a file without names that has no others has
            no identifiers.

    Returns:
        The number of each row, and the identifiers as texts; a missing one is an empty text.

    Raises:
        ValueError: the file has another number of rows now.
    """
    called = [one.called for one in left_out if is_identifier(one.why)]
    name = source.name.lower()
    unit: Literal["line", "row"] = "row"
    numbers, found = np.arange(1, rows + 1), dict[str, Sequence[str]]()
    if name.endswith((".csv", ".tsv", ".txt")):
        from noneq.data.lines import texts_of

        chosen: dict[str, int] = {}

        def choose(names: Sequence[str], there: int) -> list[int]:
            chosen.update(_positions(called, names, there, width))
            return list(chosen.values())

        unit = "line"
        numbers, texts = texts_of(source, choose)
        found = dict(zip(chosen, texts, strict=True))
    elif name.endswith(".parquet") and called:
        found = _of_parquet(source, called, width)
    elif called and name.endswith((".npy", ".npz")):
        values = read_raw(source).values
        own = _positions(called, (), values.shape[1], width)
        found = {name: [f"{v:.17g}" for v in values[:, j].tolist()] for name, j in own.items()}
    if any(len(own) != rows for own in (numbers, *found.values())):
        raise ValueError("has another number of rows than a moment ago: give the command again")
    return Origin(unit, numbers, found)


def _positions(
    called: Sequence[str], names: Sequence[str], there: int, width: int
) -> dict[str, int]:
    """Return the positions of the columns, from 0, that are called so, by their full names."""
    if names:
        own = {visible(name, NAME): j for j, name in reversed(list(enumerate(names)))}
        return {names[own[one]]: own[one] for one in called if one in own}
    numbered = [one for one in called if one.isdecimal() and int(one) <= there]
    return {f"column {one}": int(one) - 1 for one in numbered} if there != width else {}


def _of_parquet(source: Path, called: Sequence[str], width: int) -> dict[str, Sequence[str]]:
    with pyarrow.parquet.ParquetFile(source) as file:
        names = file.schema_arrow.names
        own = _positions(called, names, len(names), width)
        table = file.read(columns=list(own), use_threads=False)
    there = table.column_names
    texts = {name: table.column(there.index(name)).to_pylist() for name in own}
    return {n: ["" if v is None else str(v) for v in values] for n, values in texts.items()}
