"""A data set from a file, whatever its format: an array of rows and, where it has any, labels.

=================== ==========================================================================
.npy                an array (M, *shape)
.npz                the array named x, data or images (or the only one); labels as y, label(s),
                    target(s) or class
.csv, .tsv, .txt    numbers, one row a line; names of the columns in the first line, or none
.parquet            a table of numbers
IDX, plain or .gz   as MNIST and Fashion-MNIST are published: images, with the labels beside them
a folder            with IDX files: its training images
a frame             no file, but a table of pandas, polars, pyarrow, ...
=================== ==========================================================================

A table's column is a column, whatever its name: `noneq.data.load` takes one for labels where
classes are asked for. Nothing is ever unpickled, no memory is taken that a file cannot fill, and
whatever is wrong with a file is a ValueError of one line.
"""

from __future__ import annotations

from errno import EINVAL
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noneq.data.columns import EXACT, beyond
from noneq.data.files import Frame, called, existing_path, regular
from noneq.data.idx import idx, published
from noneq.data.npy import npy, npz

__all__ = ["FORMATS", "LABELS", "Raw", "Rows", "read", "read_raw"]

FORMATS = ".npy, .npz, .csv, .tsv, .txt, .parquet and IDX"
LABELS = ("y", "labels", "label", "targets", "target", "class")
"""Names of an array, or of a table's column, that holds labels."""
_PART = 2**20  # values at a time


class Raw(NamedTuple):
    """What a file holds, in its own type."""

    values: NDArray[Any]
    """(M, *shape), real numbers in the machine's byte order"""
    labels: NDArray[Any] | None = None
    """(M,)"""
    columns: tuple[str, ...] = ()
    """of a table with a header"""


class Rows(NamedTuple):
    """A data set as it was read, values unchanged."""

    x: Tensor
    """float32 (M, *shape)"""
    labels: Tensor | None
    """int64 (M,); None where there are none, or they are not integers"""
    columns: tuple[str, ...] = ()
    """names, of a table with a header"""


def read(source: str | Path | Frame) -> Rows:
    """Read a file, a folder of IDX files, or a frame; the formats are in the module's table.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not readable, or not numbers that float32 can hold; says which file and why.
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


def read_raw(source: str | Path | Frame) -> Raw:
    """Read what `read` does, in the file's own type: no digit is lost."""
    if not isinstance(source, Frame):
        path = existing_path(source)
        source = published(path)[0] if path.is_dir() else path
        if not source.exists():
            raise FileNotFoundError(f"{source}: no such file or folder")
    try:
        return _plain(_frame(source) if isinstance(source, Frame) else _file(regular(source)))
    except Exception as error:  # decoders of strangers' bytes raise whatever they like
        own = isinstance(error, ValueError | OSError) and getattr(error, "errno", 0) != EINVAL
        lines = " ".join(str(error).split()) or type(error).__name__
        told = lines if own else f"damaged, or not what its name says ({lines})"
        raise ValueError(f"{called(source)}: {told[:600]}") from error


def _file(path: Path) -> Raw:
    name = path.name.lower()
    if name.endswith(".npy"):
        return Raw(npy(path))
    if name.endswith(".npz"):
        return Raw(*npz(path, LABELS))
    if name.endswith((".csv", ".tsv", ".txt")):
        from noneq.data.lines import text

        values, columns = text(path)
        return Raw(values, columns=columns)
    if name.endswith(".parquet"):
        from noneq.data.frames import parquet

        values, columns = parquet(path)
        return Raw(values, columns=columns)
    if "idx" in name or "ubyte" in name:
        return Raw(*idx(path))
    raise ValueError(f"unknown format: {FORMATS} are read")


def _frame(source: Frame) -> Raw:
    from noneq.data.frames import frame

    values, columns = frame(source)
    return Raw(values, columns=columns)


def _plain(raw: Raw) -> Raw:
    """Rows of numbers in the machine's byte order, with a label each; ValueError for others."""
    x, labels, names = raw
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
    return Raw(x, labels, names)


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
