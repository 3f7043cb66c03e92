"""Reading of IDX files, the format in which MNIST is published, plain or compressed by gzip.

A file holds two zero bytes, a byte for the type of values, a byte for the number of dimensions,
the sizes of the dimensions and the values, all big-endian. Images and labels are in separate
files, found by their names.

Source: Le Cun, Cortes and Burges, http://yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from noneq.data.files import DEFLATED, check_size, filled, regular

__all__ = ["idx", "idx_folder", "twin"]

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Read an array from an IDX file, and its labels from a second IDX file if there is one.

    The file of labels has the same name, with "labels" for "images" and "idx1" for "idx3".

    Arguments:
        path: the IDX file of the array, for example train-images-idx3-ubyte.

    Returns:
        The array (M, *shape), in the file's type, and the labels (M,), or None if there is no file
        of labels.

    Raises:
        ValueError: if a file is damaged.
    """
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    beside = None if name == path.name else twin(path.with_name(name))
    images = _array(path)
    if beside is None:
        return images, None
    try:
        return images, _array(regular(beside))
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{beside.name}: {error}") from error


def idx_folder(folder: Path) -> tuple[Path, Path | None] | None:
    """Find the files of training and test images in a folder of IDX files, as MNIST is published.

    Arguments:
        folder: the folder.

    Returns:
        The path of the training images, and the path of the test images, or None if there are
        none; None if the folder has no images.
    """
    found = sorted(p for p in folder.iterdir() if "images" in p.name and "idx" in p.name)
    training = [p for p in found if "train" in p.name] or found
    if not training:
        return None
    names = {training[0].name.replace("train", part) for part in ("t10k", "test")}
    rest = (twin(folder / name) for name in sorted(names - {training[0].name}))
    return training[0], next((path for path in rest if path), None)


def twin(path: Path) -> Path | None:
    """Find a file under its name, or else under the name with ".gz" added or removed.

    Arguments:
        path: the path of the file, with or without ".gz".

    Returns:
        The path that exists, or None if neither does.
    """
    other = path.with_suffix("") if path.suffix == ".gz" else Path(f"{path}.gz")
    return next((p for p in (path, other) if p.exists()), None)


def _array(path: Path) -> NDArray[Any]:
    size, packed = path.stat().st_size, path.suffix == ".gz"
    with cast("IO[bytes]", gzip.open(path) if packed else path.open("rb")) as file:
        zero, kind, rank = struct.unpack(">HBB", file.read(4).ljust(4, b"\xff"))
        if zero != 0 or kind not in _TYPES or not rank:
            raise ValueError("not an IDX file: it starts with two zero bytes, a type and a rank")
        sizes = file.read(4 * rank)
        if len(sizes) < 4 * rank:
            raise ValueError("cut short: it ends before the sizes do")
        shape, dtype = struct.unpack(f">{rank}I", sizes), np.dtype(_TYPES[kind])
        there = DEFLATED * size if packed else size - 4 - 4 * rank
        check_size(shape, dtype, there)
        values = filled(file, shape, dtype)
        if file.read(1):
            raise ValueError(f"more values than its shape {shape} has: damaged, or not IDX")
    return values.astype(dtype.newbyteorder("="), copy=False)
