"""Sources of rows: files that can hold what they tell, and the frames of other libraries.

A frame is what speaks Arrow's interface, ``__arrow_c_stream__``: of pandas, polars, pyarrow,
duckdb and others.
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
"""No packed byte holds more than this many (zlib's documentation)."""


@runtime_checkable
class Frame(Protocol):
    """A table of another library, as pandas, polars and pyarrow have it."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Its columns as a stream of Arrow's."""


def called(source: object) -> str:
    """What messages call a source: its path, or "a pandas DataFrame"."""
    if isinstance(source, Frame):
        return f"a {type(source).__module__.split('.')[0]} {type(source).__name__}"
    return str(source)


def existing_path(source: str | Path) -> Path:
    """A path; ``~`` stands for the home folder, unless there is a file of just that name."""
    path = Path(source)
    try:
        return path if path.exists() else path.expanduser()
    except RuntimeError:  # ~name, where nobody is called so
        return path


def regular(path: Path) -> Path:
    """The same path.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: a pipe or a device, which may never end.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("is no file but a pipe or a device: save what it gives to a file")
    return path


def count(shape: Sequence[int]) -> int:
    """Values of an array of that shape; ValueError where no array has it."""
    if any(size < 0 for size in shape):
        raise ValueError(f"its header is damaged: no array has the shape {tuple(shape)}")
    return math.prod(shape)


def check_memory(values: int, itemsize: int) -> None:
    """Raise ValueError where so many values cannot be read and prepared on this machine.

    At the worst there are two copies as they are in the file and two of the model's float32.
    """
    check_fits(
        values * (2 * itemsize + 8),
        f"{values:,} values, which take",
        "take fewer rows or columns",
    )


def check_size(shape: Sequence[int], dtype: np.dtype[Any], there: int, packed: int = 0) -> None:
    """Raise ValueError unless an array may be in a file, before any memory is taken for it.

    Arguments:
        shape: that its header tells.
        dtype: of its values.
        there: bytes of values in the file, or, if it is packed, that it tells there are.
        packed: bytes that it is packed in; 0: it is not.
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
    """An array read from where a file stands, without a second copy of it.

    Raises ValueError where the file ends before.
    """
    values = np.empty(count(shape), dtype)
    left = memoryview(values.view(np.uint8).data) if len(values) else memoryview(b"")
    while len(left):
        got = file.readinto(left[: 2**20])  # type: ignore[attr-defined]
        if not got:
            raise ValueError(f"cut short: {len(left):,} bytes are missing")
        left = left[got:]
    return values.reshape(shape)
