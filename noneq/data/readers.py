"""A data set from a file, whatever its format: an array of rows and, where it has any, labels.

=================== ==========================================================================
.npy                an array (M, *shape)
.npz                the array named x, data or images (or the only one); labels as y, label(s),
                    target(s) or class
.csv, .tsv, .txt    numbers, one row a line; names of the columns in the first line, or none
.parquet            a table of numbers (needs pandas and pyarrow)
IDX, plain or .gz   as MNIST and Fashion-MNIST are published: images, with the labels beside them
a folder            with IDX files: its training images
=================== ==========================================================================

A table's column is a column, whatever its name: `noneq.data.load` takes one for labels where
classes are asked for. Nothing is ever unpickled.
"""

from __future__ import annotations

import csv
import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, is_zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noneq.data import columns

__all__ = ["FORMATS", "LABELS", "Raw", "Rows", "published", "read", "read_raw"]

FORMATS = ".npy, .npz, .csv, .tsv, .txt, .parquet and IDX"
LABELS = ("y", "labels", "label", "targets", "target", "class")
"""Names of an array, or of a table's column, that holds labels."""

_IDX = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_X = ("x", "data", "images")
_BROKEN = (OSError, ValueError, EOFError, struct.error, BadZipFile, zlib.error, csv.Error)


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


def read(path: str | Path) -> Rows:
    """Read a file, or a folder of IDX files; the formats are in the module's table.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not readable, or not numbers; says which file and why.
        ImportError: .parquet without pandas.
    """
    raw = read_raw(path)
    rows = torch.from_numpy(np.array(raw.values, dtype=np.float32, order="C"))
    whole = raw.labels is not None and raw.labels.dtype.kind in "iub"
    labels = torch.from_numpy(raw.labels.astype(np.int64)) if raw.labels is not None else None
    return Rows(rows, labels if whole else None, raw.columns)


def read_raw(path: str | Path) -> Raw:
    """Read what `read` does, in the file's own type: no digit is lost."""
    path = Path(path).expanduser()
    if path.is_dir():
        path, _ = published(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    try:
        x, labels, names = _reader(path)(path)
        if x.dtype.kind not in "fiub":
            raise ValueError(f"holds {x.dtype}, not numbers")
        if x.ndim == 0:
            raise ValueError("holds a single number, not rows")
        labels = labels[:, 0] if labels is not None and labels.shape[1:] == (1,) else labels
        if labels is not None and labels.shape != x.shape[:1]:
            raise ValueError(f"labels of shape {labels.shape} for {len(x)} rows")
    except _BROKEN as error:
        raise ValueError(f"{path}: {error}") from error
    kind = np.dtype(np.float64) if x.dtype.itemsize > 8 else x.dtype.newbyteorder("=")
    return Raw((x[:, None] if x.ndim == 1 else x).astype(kind, copy=False), labels, names)


def published(folder: Path) -> tuple[Path, Path | None]:
    """The training images in a folder of IDX files, and the test images if they are there.

    Raises FileNotFoundError where there are no images.
    """
    found = sorted(p for p in folder.iterdir() if "images" in p.name and "idx" in p.name)
    training = [p for p in found if "train" in p.name] or found
    if not training:
        raise FileNotFoundError(f"{folder}: holds no IDX file of images (train-images-idx3-ubyte)")
    names = {training[0].name.replace("train", part) for part in ("t10k", "test")}
    rest = (_either(folder / name) for name in sorted(names - {training[0].name}))
    return training[0], next((path for path in rest if path), None)


def _reader(path: Path) -> Callable[[Path], Raw]:
    name = path.name.lower()
    readers = {".npy": _npy, ".npz": _npz, ".parquet": _parquet}
    readers |= dict.fromkeys((".csv", ".tsv", ".txt"), _text)
    for end, reader in readers.items():
        if name.endswith(end):
            return reader
    if "idx" in name or "ubyte" in name:
        return _idx
    raise ValueError(f"unknown format: {FORMATS} are read")


def _npy(path: Path) -> Raw:
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError("not an .npy file: numpy.save writes one")
        file.seek(0)
        return Raw(_unpickled(lambda: np.load(file, allow_pickle=False)))


def _npz(path: Path) -> Raw:
    if not is_zipfile(path):
        raise ValueError("not an .npz file, or cut short: numpy.savez writes one")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        names = archive.files
        x = next((name for name in _X if name in names), names[0] if len(names) == 1 else None)
        if x is None:
            raise ValueError(f"holds {', '.join(names)}: name the array of rows x")
        y = next((name for name in LABELS if name in names), None)
        values = _unpickled(lambda: archive[x])
        return Raw(values, None if y is None else _unpickled(lambda: archive[y]))


def _unpickled(load: Callable[[], Any]) -> NDArray[Any]:
    try:
        return np.asarray(load())
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ValueError(
            "holds Python objects, which are never unpickled: save an array of numbers"
        ) from error


def _text(path: Path) -> Raw:
    values, names = columns.text(path)
    return Raw(values, columns=names)


def _parquet(path: Path) -> Raw:
    values, names = columns.parquet(path)
    return Raw(values, columns=names)


def _idx(path: Path) -> Raw:
    """Yann LeCun's format: two zero bytes, the type, the rank, sizes and values, big-endian."""
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    beside = None if name == path.name else _either(path.with_name(name))
    return Raw(_idx_array(path), None if beside is None else _idx_array(beside))


def _either(path: Path) -> Path | None:
    """A file that is there, whether packed or not."""
    other = path.with_suffix("") if path.suffix == ".gz" else Path(f"{path}.gz")
    return next((p for p in (path, other) if p.exists()), None)


def _idx_array(path: Path) -> NDArray[Any]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        content = file.read()
    zero, kind, rank = struct.unpack(">HBB", content[:4].ljust(4, b"\xff"))
    if zero != 0 or kind not in _IDX or not rank:
        raise ValueError("not an IDX file: it starts with two zero bytes, a type and a rank")
    dtype, start = np.dtype(_IDX[kind]), 4 + 4 * rank
    if len(content) < start:
        raise ValueError("cut short: it ends before the sizes do")
    shape = struct.unpack(f">{rank}I", content[4:start])
    if len(content) - start != dtype.itemsize * np.prod(shape, dtype=np.int64):
        raise ValueError(
            f"{len(content) - start} bytes of values for shape {shape}: cut short, or not IDX"
        )
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))
