"""Files of rows that are read in blocks, so that no more than a block has to be in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Blocks", "blocks_of"]

BYTES = 2**20  # of a block of an .npy file, about


class Blocks(Protocol):
    """The protocol of a file of rows that is read in blocks.

    Attributes:
        starts: number of the first row of each block, and the number of all rows (K + 1,).
    """

    starts: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one row."""

    def read(self, block: int) -> NDArray[Any]:
        """Read the rows of a block (B, *shape), float64 where float32 is not exact."""


class NpyBlocks:
    """Reads the blocks of a memory-mapped .npy file.

    Arguments:
        path: the file, an array of numbers (M, *shape).

    Raises:
        ValueError: the file is damaged, or no array of numbers with rows.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path}: no .npy file of numbers, or cut short ({error})") from error
        if self.array.ndim < 2 or not len(self.array) or self.array.dtype.kind not in "fiub":
            raise ValueError(
                f"{path}: an array {self.array.shape} of {self.array.dtype}, and no rows of "
                "numbers (M, ...)"
            )
        many = max(1, BYTES // self.array[0].nbytes)
        ends = range(0, len(self.array), many)
        self.starts = np.array([*ends, len(self.array)], dtype=np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one row."""
        return tuple(self.array.shape[1:])

    def read(self, block: int) -> NDArray[Any]:
        """Read the rows of a block (B, *shape)."""
        rows: NDArray[Any] = self.array[self.starts[block] : self.starts[block + 1]]
        return rows.astype(_exact(rows.dtype))


class ParquetBlocks:
    """Reads the row groups of a parquet file.

    Arguments:
        path: the file.
        columns: names of its columns that are rows' entries, in this order; empty: all columns.

    Raises:
        ValueError: the file is damaged or empty, or a column is missing or holds no numbers.
    """

    def __init__(self, path: Path, columns: Sequence[str] = ()) -> None:
        import pyarrow
        from pyarrow import parquet, types

        try:
            self.file = parquet.ParquetFile(path)
        except pyarrow.ArrowException as error:
            raise ValueError(f"{path}: no parquet file, or cut short ({error})") from error
        schema = self.file.schema_arrow
        self.path, self.columns = path, list(columns) or schema.names
        for name in self.columns:
            if name not in schema.names:
                raise ValueError(f"{path}: no column {name!r}, but {', '.join(schema.names[:20])}")
            kind = schema.field(name).type
            if not (types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)):
                raise ValueError(f"{path}: column {name!r} holds {kind} and no numbers")
        about = self.file.metadata
        sizes = [about.row_group(k).num_rows for k in range(about.num_row_groups)]
        if not sum(sizes):
            raise ValueError(f"{path}: has no rows")
        self.starts = np.array([0, *np.cumsum(sizes)], dtype=np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one row."""
        return (len(self.columns),)

    def read(self, block: int) -> NDArray[Any]:
        """Read the rows of a row group (B, D)."""
        table = self.file.read_row_group(block, self.columns)
        for name in self.columns:
            if table[name].null_count:
                raise ValueError(
                    f"{self.path}: column {name!r} has missing values (row group {block}): fill "
                    "them, or leave out their rows"
                )
        own = [table[name].to_numpy() for name in self.columns]
        return np.stack([column.astype(_exact(column.dtype)) for column in own], 1)


def _exact(dtype: np.dtype[Any]) -> Any:
    """Return float32 for numbers that it holds exactly, else float64."""
    return np.float32 if np.can_cast(dtype, np.float32) else np.float64


def blocks_of(path: Path, columns: Sequence[str] = ()) -> Blocks:
    """Open a file of rows that is read in blocks.

    Arguments:
        path: .npy or .parquet file.
        columns: names of columns of a parquet file; empty: all.

    Returns:
        The file, of which nothing has been read but its description.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix == ".parquet":
        return ParquetBlocks(path, columns)
    if path.suffix != ".npy":
        raise ValueError(f"{path}: rows are read in blocks from an .npy or a .parquet file")
    if columns:
        raise ValueError(f"{path}: the columns of an .npy file have no names")
    return NpyBlocks(path)
