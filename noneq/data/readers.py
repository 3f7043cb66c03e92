"""A data set from a file, whatever its format: an array of rows and, where it has any, labels.

=================== ==========================================================================
.npy                an array (M, *shape)
.npz                the array named x, data or images (or the only one); labels as y or labels
.csv, .tsv, .txt    numbers, one row a line; a first line of names is skipped
.parquet            a table of numbers (needs pandas)
IDX, plain or .gz   as MNIST and Fashion-MNIST are published: images, with the labels beside them
a folder            with IDX files: its training images
=================== ==========================================================================

Nothing is ever unpickled.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Rows", "read"]

Found = tuple[NDArray[Any], NDArray[Any] | None]  # rows, labels
_IDX = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_X, _Y = ("x", "data", "images"), ("y", "labels", "label", "targets")


class Rows(NamedTuple):
    """A data set as it was read, values unchanged."""

    x: Tensor
    """float32 (M, *shape)"""
    labels: Tensor | None
    """int64 (M,)"""


def read(path: str | Path) -> Rows:
    """Read a file, or a folder of IDX files; the formats are in the module's table.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not readable, or not numbers; says which file and why.
        ImportError: .parquet without pandas.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        path = _training_images(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    try:
        x, labels = _reader(path)(path)
        if x.dtype.kind not in "fiub":
            raise ValueError(f"holds {x.dtype}, not numbers")
        x = x[:, None] if x.ndim == 1 else x
        if labels is not None and labels.shape != x.shape[:1]:
            raise ValueError(f"labels of shape {labels.shape} for {len(x)} rows")
    except (OSError, ValueError, EOFError, struct.error, BadZipFile) as error:
        raise ValueError(f"{path}: {error}") from error
    rows = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    return Rows(rows, None if labels is None else torch.from_numpy(labels.astype(np.int64)))


def _reader(path: Path) -> Callable[[Path], Found]:
    name = path.name.lower()
    readers = {".npy": _npy, ".npz": _npz, ".parquet": _parquet}
    readers |= dict.fromkeys((".csv", ".tsv", ".txt"), _text)
    for end, reader in readers.items():
        if name.endswith(end):
            return reader
    if "idx" in name or "ubyte" in name:
        return _idx
    raise ValueError("unknown format: .npy, .npz, .csv, .tsv, .txt, .parquet and IDX are read")


def _npy(path: Path) -> Found:
    return np.load(path, allow_pickle=False), None


def _npz(path: Path) -> Found:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        names = archive.files
        x = next((name for name in _X if name in names), names[0] if len(names) == 1 else None)
        if x is None:
            raise ValueError(f"holds {', '.join(names)}: name the array of rows x")
        y = next((name for name in _Y if name in names), None)
        return archive[x], None if y is None else archive[y]


def _text(path: Path) -> Found:
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline()
    separator = "\t" if "\t" in first else "," if "," in first else ";" if ";" in first else None
    try:
        [float(word) for word in first.split(separator)]
        header = 0
    except ValueError:
        header = 1
    return np.loadtxt(
        path, delimiter=separator, skiprows=header, ndmin=2, encoding="utf-8-sig"
    ), None


def _parquet(path: Path) -> Found:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(f"{path}: reading .parquet needs pandas (pip install pandas)") from error
    table = pandas.read_parquet(path)
    words = [str(name) for name, kind in table.dtypes.items() if kind.kind not in "fiub"]
    if words:
        raise ValueError(f"columns that are not numbers: {', '.join(words[:5])}")
    return table.to_numpy(), None


def _idx(path: Path) -> Found:
    """Yann LeCun's format: two zero bytes, the type, the rank, sizes and values, big-endian."""
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    labelled = beside != path and beside.exists()
    return _idx_array(path), _idx_array(beside) if labelled else None


def _idx_array(path: Path) -> NDArray[Any]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        content = file.read()
    zero, kind, rank = struct.unpack(">HBB", content[:4])
    if zero != 0 or kind not in _IDX or not rank:
        raise ValueError("not an IDX file: it starts with two zero bytes, a type and a rank")
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    dtype, start = np.dtype(_IDX[kind]), 4 + 4 * rank
    if len(content) - start != dtype.itemsize * np.prod(shape, dtype=np.int64):
        raise ValueError(
            f"{len(content) - start} bytes of values for shape {shape}: cut short, or not IDX"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def _training_images(folder: Path) -> Path:
    found = sorted(p for p in folder.iterdir() if "images" in p.name and "idx" in p.name)
    training = [p for p in found if "train" in p.name] or found
    if not training:
        raise FileNotFoundError(f"{folder}: holds no IDX file of images (train-images-idx3-ubyte)")
    return training[0]
