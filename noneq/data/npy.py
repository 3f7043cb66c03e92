"""Reading of numpy's files: one array (.npy), or several named arrays (.npz).

A file with pickled Python objects raises an error: unpickling could run any code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile, is_zipfile

import numpy as np
from numpy.lib import format as header
from numpy.typing import NDArray

from noneq.data.files import check_size

__all__ = ["npy", "npz"]

_X = ("x", "data", "images")


def npy(path: Path) -> NDArray[Any]:
    """Read the array of an .npy file.

    Arguments:
        path: the file.

    Returns:
        The array, in the file's shape and type.

    Raises:
        ValueError: if the file is damaged or holds Python objects.
    """
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError("not an .npy file: numpy.save writes one")
        file.seek(0)
        return _array(file, path.stat().st_size)


def npz(path: Path, labels: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Read the array of rows of an .npz file, and the array of labels if there is one.

    The rows are the array named x, data or images, or the only array.

    Arguments:
        path: the file.
        labels: the names that an array of labels may have.

    Returns:
        The rows and the labels, in the file's shapes and types; None in place of the labels if
        there are none.

    Raises:
        ValueError: if the file is damaged, holds Python objects or has no array of rows.
    """
    if not is_zipfile(path):
        raise ValueError("not an .npz file, or cut short: numpy.savez writes one")
    size = path.stat().st_size
    with ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        names = list(members)
        x = next((name for name in _X if name in names), names[0] if len(names) == 1 else None)
        if x is None:
            raise ValueError(f"holds {', '.join(names[:20])}: name the array of rows x")
        y = next((name for name in labels if name in names), None)
        found = []
        for name in (x, y):
            if name is None:
                continue
            info = members[name]
            with archive.open(info) as file:
                found.append(_array(file, info.file_size, min(info.compress_size, size) or 1))
    return found[0], found[1] if y is not None else None


def _array(file: IO[bytes], size: int, packed: int = 0) -> NDArray[Any]:
    """Read one array, after its header has been checked.

    Arguments:
        file: the file, at its beginning.
        size: the number of uncompressed bytes in the file.
        packed: the number of compressed bytes; 0 if it is not compressed.
    """
    version = header.read_magic(file)
    read = {(1, 0): header.read_array_header_1_0, (2, 0): header.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"holds no numbers: format {version} of numpy's is for names of fields")
    shape, _, dtype = read[version](file)
    if dtype.hasobject:
        raise ValueError(
            "holds Python objects, which are never unpickled: save an array of numbers"
        )
    check_size(shape, dtype, size - file.tell(), packed)
    file.seek(0)
    return np.asarray(header.read_array(file, allow_pickle=False))
