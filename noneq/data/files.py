"""Sources of rows: files, checked before memory is taken for them, and tables of other libraries.

A table in memory, called a frame, is any object with Arrow's interface ``__arrow_c_stream__``,
such as the tables of pandas, polars, pyarrow and duckdb. The checks compare the sizes that a
file's header states with the bytes in the file and with the memory available.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from noneq.numerics import check_fits

__all__ = [
    "DEFLATED",
    "Frame",
    "called",
    "check_memory",
    "check_size",
    "count",
    "existing_path",
    "filled",
    "regular",
]

DEFLATED = 1032
"""The most bytes to which one byte compressed by zlib can expand (from zlib's documentation)."""


@runtime_checkable
class Frame(Protocol):
    """Describes a table in memory that has Arrow's interface ``__arrow_c_stream__``.

    A pandas or polars DataFrame, a pyarrow Table and a duckdb relation are frames;
    `noneq.data.read` and `noneq.data.load` accept them in place of a path.
    """

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Export the columns of the table as an Arrow stream.

        Arguments:
            requested_schema: the schema that a reader would prefer, or None.

        Returns:
            A PyCapsule that holds the stream.
        """


def called(source: object) -> str:
    """Name a source of rows for a message: a path as it is, a table by its type.

    Arguments:
        source: a path, or a table in memory (`Frame`).

    Returns:
        The path, or a text such as "a pandas DataFrame".
    """
    if isinstance(source, Frame):
        return f"a {type(source).__module__.split('.')[0]} {type(source).__name__}"
    return str(source)


def existing_path(source: str | Path) -> Path:
    """Convert text to a path; a leading ``~`` is the home folder unless a file has that name.

    Arguments:
        source: the path as the user gave it.

    Returns:
        The path, which need not exist.
    """
    path = Path(source)
    try:
        return path if path.exists() else path.expanduser()
    except RuntimeError:  # ~name, where nobody is called so
        return path


def regular(path: Path) -> Path:
    """Check that a path is a regular file, neither a folder nor a pipe nor a device.

    Arguments:
        path: the path.

    Returns:
        The path, unchanged.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: if it is a folder, a pipe or a device; reading a pipe or device may never end.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("is no file but a pipe or a device: save what it gives to a file")
    return path


def count(shape: Sequence[int]) -> int:
    """Count the values of an array of a given shape.

    Arguments:
        shape: the sizes of the array, as a file's header states them.

    Returns:
        The product of the sizes.

    Raises:
        ValueError: if a size is negative, so that the header is damaged.
    """
    if any(size < 0 for size in shape):
        raise ValueError(f"its header is damaged: no array has the shape {tuple(shape)}")
    return math.prod(shape)


def check_memory(values: int, itemsize: int) -> None:
    """Check that an array can be read and prepared in the memory available.

    In the worst case four copies exist at once: two in the file's type and two in float32.

    Arguments:
        values: the number of values.
        itemsize: bytes of one value in the file's type.

    Raises:
        ValueError: if there is too little memory.
    """
    check_fits(
        values * (2 * itemsize + 8),
        f"{values:,} values, which take",
        "take fewer rows or columns",
    )


def check_size(shape: Sequence[int], dtype: np.dtype[Any], there: int, packed: int = 0) -> None:
    """Check that a file can hold the array that its header states, before memory is taken for it.

    Arguments:
        shape: the shape stated by the header.
        dtype: the type of the values.
        there: the number of bytes of values in the file, after decompression.
        packed: the number of compressed bytes in the file; 0 if it is not compressed.

    Raises:
        ValueError: if the file is too short for the array, or there is too little memory.
    """
    needs = count(shape) * dtype.itemsize
    most = DEFLATED * packed if packed else there
    if needs > min(there, most):
        shown = " x ".join(map(str, shape))
        raise ValueError(
            f"cut short, or its header is damaged: {shown} values need {needs:,} bytes, and there "
            f"are at most {min(there, most):,}"
        )
    check_memory(count(shape), dtype.itemsize)


def filled(file: IO[bytes], shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read an array from the present position of a file, without a second copy in memory.

    Arguments:
        file: a binary file, open for reading.
        shape: the shape of the array.
        dtype: the type of its values.

    Returns:
        The array, of the given shape and type.

    Raises:
        ValueError: if the file ends before the array does.
    """
    values = np.empty(count(shape), dtype)
    left = memoryview(values.view(np.uint8).data) if len(values) else memoryview(b"")
    while len(left):
        got = file.readinto(left[: 2**20])  # type: ignore[attr-defined]
        if not got:
            raise ValueError(f"cut short: {len(left):,} bytes are missing")
        left = left[got:]
    return values.reshape(shape)
