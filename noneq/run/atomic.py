"""Atomic writes: a file is replaced as a whole or not at all, even if the power is cut."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["make_folder", "save_arrays", "save_table", "sync_folder", "write"]

BLOCK = 4096  # lines of a table at a time


def write(path: Path, content: bytes | Callable[[Path], None]) -> None:
    """Write a file, so that after an interruption the path has the old file or the new one.

    Arguments:
        path: path of the file.
        content: bytes of the file, or a function that writes the file to a given path.

    Raises:
        OSError: the file cannot be written; the old file is unchanged.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        if callable(content):
            content(part)
        else:
            part.write_bytes(content)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays to an .npz file, or only the array named ``x`` to an .npy file.

    Arguments:
        path: path of the file, whose ending decides the format; its folder is made.
        arrays: arrays by name.
    """

    def save(part: Path) -> None:
        with part.open("wb") as file:  # NumPy would add an ending to a name that has another
            if path.suffix == ".npy":
                np.save(file, arrays["x"])
            else:
                np.savez(file, **arrays)

    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, save)


def save_table(path: Path, columns: Sequence[str], values: NDArray[Any]) -> None:
    """Write a table to a .csv file: the names of the columns, and a line for each row.

    Numbers are written with as many digits as float64 needs, so that they are read unchanged.

    Arguments:
        path: path of the file; its folder is made.
        columns: names of the D columns.
        values: rows (M, D) of numbers, or of numbers and texts.

    Raises:
        OSError: the file cannot be written; the old file is unchanged.
    """

    def save(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(columns)
            for start in range(0, len(values), BLOCK):
                lines.writerows(values[start : start + BLOCK].tolist())

    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, save)


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk (fsync), so that a crash cannot undo the replacement of a file.

    Arguments:
        folder: folder in which a file was replaced.
    """
    if os.name == "nt":  # there is no such call
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, and flush the new names to disk (fsync).

    Arguments:
        folder: folder to make; nothing happens if it exists.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
