"""Reading of an array of rows, and of labels if there are any, from a file of any known format.

=================== ==========================================================================
.npy                an array (M, *shape)
.npz                the array named x, data or images (or the only one); labels as y, label(s),
                    target(s) or class
.csv, .tsv, .txt    numbers, one row a line; names of the columns in the first line, or none
.parquet            a table of numbers
IDX, plain or .gz   as MNIST and Fashion-MNIST are published: images, and labels in another file
.bin                the binary version of CIFAR-10 or CIFAR-100: images and labels
a folder            with IDX or CIFAR's .bin files: its training images
a frame             a table of pandas, polars, pyarrow, ... in memory
=================== ==========================================================================

All columns of a table are read as values, whatever their names; `noneq.data.load` takes one of
them for labels if classes are asked for. Nothing is ever unpickled, memory is taken only for what
a file can hold, and a damaged file raises a ValueError of one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from errno import EINVAL
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noneq.data.cifar import cifar
from noneq.data.columns import EXACT, Faults, Table, beyond
from noneq.data.files import Frame, called, existing_path, regular
from noneq.data.folders import published
from noneq.data.idx import idx
from noneq.data.npy import npy, npz
from noneq.data.words import Words

__all__ = ["FORMATS", "LABELS", "Raw", "Rows", "read", "read_raw"]

FORMATS = ".npy, .npz, .csv, .tsv, .txt, .parquet, IDX and CIFAR's .bin"
"""The names of the file formats that can be read, as messages list them."""
LABELS = ("y", "labels", "label", "targets", "target", "class")
"""The names that an array of labels, or a column of labels, may have."""
_PART = 2**20  # values at a time


class Raw(NamedTuple):
    """Holds the rows read from a file or a table in memory, in their original type of numbers.

    Attributes:
        values: real numbers (M, *shape) in native byte order.
        labels: class labels (M,) of the rows, of any type; None if the source has none.
        columns: the names of a table's columns; empty if it has none.
        faults: what is wrong with the columns as numbers, if they were read loosely; None:
            nothing.
        words: the columns that hold texts or dates, by their index.
    """

    values: NDArray[Any]
    labels: NDArray[Any] | None = None
    columns: tuple[str, ...] = ()
    faults: Faults | None = None
    words: Mapping[int, Words] = MappingProxyType({})


class Rows(NamedTuple):
    """Holds rows as read from a file or a table in memory, neither scaled nor split.

    Attributes:
        x: the rows, float32 (M, *shape).
        labels: the class labels of the rows, int64 (M,); None if the source has no labels, or if
            they are not integers.
        columns: the names of a table's columns; empty if it has none.
    """

    x: Tensor
    labels: Tensor | None
    columns: tuple[str, ...] = ()


def read(source: str | Path | Frame) -> Rows:
    """Read rows from a file, a folder of images or a table in memory, without scaling them.

    Files are .npy, .npz, .csv, .tsv, .txt, .parquet, IDX (MNIST's format, plain or .gz) or .bin
    (CIFAR's binary format).

    >>> import pyarrow
    >>> rows = read(pyarrow.table({"length": [1.0, 2.0], "width": [3.0, 4.0]}))
    >>> rows.x.tolist(), rows.columns
    ([[1.0, 3.0], [2.0, 4.0]], ('length', 'width'))

    Arguments:
        source: a path, or a table of pandas, polars, pyarrow or any other library with Arrow's
            interface (`Frame`).

    Returns:
        The rows, float32 (M, *shape), with the labels (M,) and the names of columns if the source
        has them.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the file is damaged, or holds anything but numbers that float32 can hold.
    """
    raw = read_raw(source)
    with np.errstate(over="ignore"):
        values = np.array(raw.values, dtype=np.float32, order="C")
    lost = np.isinf(values) & np.isfinite(raw.values)
    if lost.any():
        raise ValueError(
            f"{called(source)}: {raw.values[lost][0]:g} is too large for float32: scale the values"
        )
    labels = None
    if raw.labels is not None and raw.labels.dtype.kind in "iub":
        labels = torch.from_numpy(raw.labels.astype(np.int64))
    return Rows(torch.from_numpy(values), labels, raw.columns)


def read_raw(source: str | Path | Frame, *, loose: bool = False) -> Raw:
    """Read rows from a file or a table in memory, without converting them to float32.

    Arguments:
        source: a path, or a table in memory, as for `read`.
        loose: whether columns of text or dates, and missing values, of tables are accepted.

    Returns:
        The rows (M, *shape) in the file's own type, with labels (M,) and names of columns if the
        source has them.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or holds anything but numbers.
    """
    if not isinstance(source, Frame):
        path = existing_path(source)
        source = published(path)[0] if path.is_dir() else path
        if not source.exists():
            raise FileNotFoundError(f"{source}: no such file or folder")
    try:
        if isinstance(source, Frame):
            return _plain(_frame(source, loose))
        if source.is_dir():  # whose training images are in several files
            return _plain(Raw(*cifar(source)))
        return _plain(_file(regular(source), loose))
    except Exception as error:  # decoders of strangers' bytes raise whatever they like
        own = isinstance(error, ValueError | OSError) and getattr(error, "errno", 0) != EINVAL
        lines = " ".join(str(error).split()) or type(error).__name__
        reason = lines if own else f"damaged, or not what its name says ({lines})"
        raise ValueError(f"{called(source)}: {reason[:600]}") from error


def _file(path: Path, loose: bool) -> Raw:
    name = path.name.lower()
    if name.endswith(".npy"):
        return Raw(npy(path))
    if name.endswith(".npz"):
        return Raw(*npz(path, LABELS))
    if name.endswith((".csv", ".tsv", ".txt")):
        from noneq.data.lines import text

        return _of(text(path, loose=loose))
    if name.endswith(".parquet"):
        from noneq.data.frames import parquet

        return _of(parquet(path, loose=loose))
    if "idx" in name or "ubyte" in name:
        return Raw(*idx(path))
    if name.endswith(".bin"):
        return Raw(*cifar(path))
    raise ValueError(f"unknown format: {FORMATS} are read")


def _frame(source: Frame, loose: bool) -> Raw:
    from noneq.data.frames import frame

    return _of(frame(source, loose=loose))


def _of(table: Table) -> Raw:
    return Raw(table.values, None, table.columns, table.faults, table.words)


def _plain(raw: Raw) -> Raw:
    """Check rows and labels, and convert the rows to native byte order."""
    x, labels = raw.values, raw.labels
    if x.dtype.kind not in "fiub":
        raise ValueError(f"holds {x.dtype}, not numbers")
    if x.ndim == 0:
        raise ValueError("holds a single number, not rows")
    if labels is not None:
        labels = labels[:, 0] if labels.shape[1:] == (1,) else labels
        if labels.shape != x.shape[:1]:
            raise ValueError(f"labels of shape {labels.shape} for {len(x)} rows")
    kind = np.dtype(np.float64) if x.dtype.itemsize > 8 else x.dtype.newbyteorder("=")
    x = (x[:, None] if x.ndim == 1 else x).astype(kind, copy=False)
    _check_integers(x)
    return raw._replace(values=x, labels=labels)


def _check_integers(x: NDArray[Any]) -> None:
    """Raise ValueError for an integer that float64 does not hold."""
    if x.dtype.kind not in "iu" or x.dtype.itemsize < 8 or not x.size:
        return
    if x.min() >= -EXACT and x.max() <= EXACT:
        return
    flat = x.reshape(-1)
    for start in range(0, len(flat), _PART):
        part = flat[start : start + _PART]
        for value in part[(part > EXACT) | (part < -EXACT)].tolist():
            if int(float(value)) != value:
                raise ValueError(f"holds {beyond(value)} save them as differences")
