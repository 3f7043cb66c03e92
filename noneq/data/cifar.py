"""Reading of CIFAR-10 and CIFAR-100 in their binary versions, which hold no pickles.

A file is a sequence of records without a header: one byte for the class in CIFAR-10, two bytes for
the coarse and the fine class in CIFAR-100, and then 3,072 bytes of pixels, the 32 x 32 red ones
first, then the green and the blue ones, each colour row by row. The training images of CIFAR-10
are in five files, data_batch_1.bin to data_batch_5.bin, and the test images in test_batch.bin;
CIFAR-100 has the files train.bin and test.bin.

Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noneq.data.files import check_memory, check_size, filled, regular

__all__ = ["cifar", "cifar_folder"]

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
_BATCHES = "data_batch_{}.bin"


class _Kind(NamedTuple):
    """The name of a data set, and the number of values of each byte before the pixels."""

    name: str
    classes: tuple[int, ...]


_TEN, _HUNDRED = _Kind("CIFAR-10", (10,)), _Kind("CIFAR-100", (20, 100))


def cifar(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read images and their classes from a file, or the training images of a folder.

    The files train.bin and test.bin are read as CIFAR-100, all others as CIFAR-10.

    Arguments:
        path: a file such as data_batch_1.bin, or a folder of them, whose batches of training
            images are read one after another.

    Returns:
        The images (M, 3, 32, 32) and the classes (M,), both uint8; of CIFAR-100 the fine classes.

    Raises:
        ValueError: if a file does not consist of whole records or has a class that there is not,
            or if a batch of the folder is missing between others.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "test_batch.bin"
    >>> size = file.write_bytes(bytes([7]) + bytes(range(256)) * 12)
    >>> images, classes = cifar(file)
    >>> images.shape, classes.tolist(), images[0, 1, 0, :3].tolist()
    ((1, 3, 32, 32), [7], [0, 1, 2])
    """
    if not path.is_dir():
        return _file(path)
    files = _batches(path)
    check_memory(sum(file.stat().st_size for file in files), 1)
    parts = []
    for file in files:
        try:
            parts.append(_file(regular(file)))
        except ValueError as error:
            raise ValueError(f"{file.name}: {error}") from error
    images, classes = (np.concatenate(own) for own in zip(*parts, strict=True))
    return images, classes


def cifar_folder(folder: Path) -> tuple[Path, Path | None] | None:
    """Find training and test images in a folder of CIFAR's binary files.

    Arguments:
        folder: the folder, such as cifar-10-batches-bin.

    Returns:
        What `cifar` reads the training images from, the folder itself or its file train.bin, and
        the file of the test images, or None if there is none; None if the folder has no training
        images of CIFAR.
    """
    if any(folder.glob(_BATCHES.format("*"))):
        training, test = folder, folder / "test_batch.bin"
    elif (folder / "train.bin").exists():
        training, test = folder / "train.bin", folder / "test.bin"
    else:
        return None
    return training, test if test.exists() else None


def _batches(folder: Path) -> Sequence[Path]:
    """List the batches of training images in their order, and miss none between two others."""
    there = {path.name for path in folder.glob(_BATCHES.format("*"))}
    names = [_BATCHES.format(i) for i in range(1, 1 + len(there))]
    for name in names:
        if name not in there:
            raise ValueError(f"holds no {name}, but {', '.join(sorted(there))}: one is missing")
    return [folder / name for name in names]


def _file(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    kind = _HUNDRED if path.name.lower() in ("train.bin", "test.bin") else _TEN
    first = len(kind.classes)
    record, size = first + PIXELS, path.stat().st_size
    if not size or size % record:
        raise ValueError(
            f"cut short, or not {kind.name}: records have {record:,} bytes, and the file has "
            f"{size:,}, which is no whole number of them"
        )
    with path.open("rb") as file:
        check_size((size // record, record), np.dtype(np.uint8), size)
        rows = filled(file, (size // record, record), np.dtype(np.uint8))
    for i, most in enumerate(kind.classes):
        if int(rows[:, i].max()) >= most:
            at = int((rows[:, i] >= most).argmax())
            raise ValueError(
                f"damaged, or not {kind.name}: image {at + 1} has the class {rows[at, i]}, and "
                f"classes are below {most}"
            )
    images = np.ascontiguousarray(rows[:, first:]).reshape(-1, *SHAPE)
    return images, rows[:, first - 1].copy()
