"""Tables with typed, named columns: parquet files, and tables in memory of other libraries.

All columns are converted to float64. The index of a pandas frame is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from numpy.typing import NDArray

from noneq.data.columns import EXACT, Faults, Table, check_index
from noneq.data.files import Frame, check_memory
from noneq.data.words import Collector

__all__ = ["frame", "parquet"]

_ROWS = 2**16  # of a parquet file at a time


def frame(source: Frame, *, loose: bool = False) -> Table:
    """Convert a table in memory to an array of numbers.

    Arguments:
        source: a table of pandas, polars, pyarrow or another library (`noneq.data.Frame`).
        loose: whether columns of text or dates, and missing values, are accepted.

    Returns:
        The columns, float64 (M, D), with their D names.

    Raises:
        ValueError: if a column holds text, dates or missing values; the message names the columns
            and the first row concerned, counted from 0.
    """
    table: Any = pa.table(source)
    check_memory(table.num_rows * table.num_columns, 8)
    return _table(table.schema, table.to_batches(), loose=loose)


def parquet(path: Path, *, loose: bool = False) -> Table:
    """Read a parquet file as an array of numbers.

    Arguments:
        path: the file.
        loose: whether columns of text or dates, and missing values, are accepted.

    Returns:
        The columns, float64 (M, D), with their D names.

    Raises:
        ValueError: if the file is damaged, or a column holds text, dates or missing values.
    """
    with pyarrow.parquet.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
        check_memory(rows * len(schema), 8)
        table = _table(schema, file.iter_batches(_ROWS, use_threads=False), loose=loose)
    if len(table.values) != rows:
        raise ValueError(f"{len(table.values):,} rows, but its header states {rows:,}: damaged")
    return table


def _table(schema: Any, batches: Iterable[Any], *, loose: bool) -> Table:
    index = (schema.pandas_metadata or {}).get("index_columns", ())
    own = [i for i, name in enumerate(schema.names) if name not in index]
    names = tuple(schema.names[i] for i in own)
    faults, parts, row = Faults("row", names), [], 0
    words: dict[int, Collector] = {}
    for batch in batches:
        values = np.empty((batch.num_rows, len(own)))
        for j, i in enumerate(own):
            values[:, j] = _numbers(batch.column(i), j, row, faults)
            if loose and not _is_numeric(batch.column(i).type):
                _collect(batch.column(i), words, j)
                gaps = np.flatnonzero(batch.column(i).is_null().to_numpy(zero_copy_only=False))
                if len(gaps) and len(gaps) < len(values):  # else it is noted
                    faults.note("gaps", j, row + int(gaps[0]), None, len(gaps))
        if loose or not faults:
            parts.append(values)
        row += len(values)
    if faults and not loose:
        raise ValueError(str(faults))
    values = np.concatenate(parts) if parts else np.empty((0, len(own)))
    if not loose:
        check_index(names, values)
    return Table(values, names, faults or None, {j: one.words() for j, one in words.items()})


def _collect(column: Any, words: dict[int, Collector], j: int) -> None:
    """Add a piece of a column of text, or of dates or the like, to the texts of column j."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_text = is_text or kind == getattr(pa, "string_view", pa.string)() or pa.types.is_null(kind)
    if j not in words:
        what = "dates or times" if pa.types.is_temporal(kind) else str(kind)
        words[j] = Collector("text" if is_text else what)
    words[j].add(column.cast(pa.string()) if is_text else column)


def _is_numeric(kind: Any) -> bool:
    whole = pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    return bool(whole or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _numbers(column: Any, j: int, row: int, faults: Faults) -> NDArray[np.float64] | float:
    """Convert a piece of column j that begins at a given row, and record its faults."""
    kind = column.type
    whole = pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    if not _is_numeric(kind):
        there = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        if len(there):
            i = int(there[0])
            faults.note("words", j, row + i, column[i].as_py(), len(there))
        elif len(column):
            faults.note("gaps", j, row, None, len(column))
        return np.nan
    given = column
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    if not pa.types.is_float16(kind):  # which old versions cast to nothing
        column = pc.cast(column, pa.float64(), safe=False)
    values: NDArray[np.float64] = column.to_numpy(zero_copy_only=False).astype(np.float64)
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        faults.note("gaps", j, row + int(missing[0]), None, len(missing))
    for k in np.flatnonzero(np.abs(values) >= EXACT).tolist() if whole else ():
        integer = given[k].as_py()
        if integer == int(integer) and int(integer) != int(values[k]):
            faults.note("integers", j, row + k, int(integer))
    return values
