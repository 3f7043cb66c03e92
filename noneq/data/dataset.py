"""Data sets by name, path or frame, split and scaled so that a model can be trained on them.

`load` reads and splits a source into a `DataSet`; `rows_like` reads new rows for a trained model.
In x, the rows that a model is trained on, the values of the array are scaled:

================ ============ ================================================================
array            row of x     values of x
================ ============ ================================================================
(M, D)           (D,)         each column standardised by its mean and sd over training rows
(M, H, W)        (1, H, W)    integers mapped to [-1, 1], see `noneq.data.scaling.for_images`
(M, C, H, W)     (C, H, W)    as (M, H, W); the axis C = 1, 3 or 4 may also be the last one
================ ============ ================================================================

Rows are split 70 / 10 / 20 (train / validation / test) at random; copies of a row go into the same
split. If a folder of IDX files has a test file (t10k or test), that file is the test
split and one eighth of the training file is the validation split. The digits have a fixed split.

A table's column named y, label(s), target(s) or class is an ordinary column unless classes or a
subset are asked for: then it holds the labels, which select rows and are not trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from noneq.data.checks import is_discrete
from noneq.data.files import Frame, called
from noneq.data.plaintext import visible
from noneq.data.readers import Raw, read_raw
from noneq.data.repeats import Repeats, repeats_in
from noneq.data.scaling import Scaling, for_binary, for_bits, for_images, for_table
from noneq.data.selection import (
    NAMED,
    Array,
    Choice,
    Parts,
    checked,
    existing,
    from_source,
    naming,
)

__all__ = ["DataSet", "load", "rows_like"]

NAME = 40  # the most characters of a column's name in a summary


@dataclass(frozen=True, eq=False)
class DataSet:
    """Holds the training, validation and test rows of a data set, scaled for training a model.

    Attributes:
        train: training rows, float32 (M, *shape).
        validation: validation rows (M, *shape), for choices such as early stopping.
        test: test rows (M, *shape), for the likelihood that is reported at the end.
        kind: "image" for rows of shape (C, H, W), or "table" for rows of shape (D,).
        scaling: the map from values in the file to the scaled values that a model is trained on.
        source: the name "digits", the absolute path of a file, or e.g. "a pandas DataFrame".
        discrete: whether rows look discrete, so that a density needs noise (`is_discrete`).
        columns: the names of a table's columns; empty if it has none.
        digest: sha256 of the unscaled values of all splits, which identifies the data.
        repeats: the number of rows equal to an earlier row, and the number of validation and test
            rows equal to a row of an earlier split.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    kind: Literal["image", "table"]
    scaling: Scaling
    source: str
    discrete: bool
    columns: tuple[str, ...]
    digest: str
    repeats: Repeats

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one row, (C, H, W) for images or (D,) for tables."""
        return tuple(self.train.shape[1:])

    def to(self, device: torch.device | str) -> DataSet:
        """Copy the rows to a device.

        Arguments:
            device: a torch device.

        Returns:
            A data set with the same rows on that device.
        """
        splits = (self.train, self.validation, self.test)
        train, validation, test = (part.to(device) for part in splits)
        return replace(self, train=train, validation=validation, test=test)

    def plain(self) -> dict[str, Any]:
        """Return all but the rows as a dictionary of texts, numbers and lists, for a JSON file.

        Shapes and numbers of rows are in it.
        """
        return {
            "source": self.source,
            "digest": self.digest,
            "kind": self.kind,
            "shape": list(self.shape),
            "rows": [len(part) for part in (self.train, self.validation, self.test)],
            "columns": list(self.columns),
            "discrete": self.discrete,
            "repeats": list(self.repeats),
            "scaling": self.scaling.plain(),
        }

    def summary(self) -> str:
        """Describe the data set in one line.

        Returns:
            A text: the sizes of the splits, the kind of rows, their scaling, and repeated rows.
        """
        sizes = " / ".join(f"{len(part):,}" for part in (self.train, self.validation, self.test))
        names = ", ".join(visible(name, NAME) for name in self.columns[:6]) + (
            ", ..." if len(self.columns) > 6 else ""
        )
        many = f"{self.shape[0]} column" + "s" * (self.shape[0] != 1)
        rows = {
            "image": f"images of shape {self.shape}",
            "table": f"rows of {many}" + f" ({names})" * bool(names),
        }[self.kind]
        needs = self.discrete and self.scaling.threshold is None
        noise = "; discrete, so a density needs noise" if needs else ""
        repeats = f"; {self.repeats}" if self.repeats.rows else ""
        return f"{sizes} {rows} (train / validation / test): {self.scaling}{noise}{repeats}"


def load(
    source: str | Path | Frame,
    *,
    classes: Sequence[int] | None = None,
    subset: Sequence[int] | None = None,
    binary: bool = False,
    bits: bool = False,
    seed: int = 0,
) -> DataSet:
    """Read a data set, split it 70 / 10 / 20 at random, and scale it for training a model.

    Integer pixels are mapped to [-1, 1], and columns of a table standardised by the training rows.
    The digits, and a folder that holds a test file, have splits of their own.

    >>> data = load("digits", classes=(0, 1))
    >>> data.shape, data.kind, float(data.train.min()), float(data.train.max())
    ((1, 8, 8), 'image', -1.0, 1.0)

    Arguments:
        source: the name "digits"; a path that `noneq.data.read` accepts ("./digits" for a file of
            that name); or a table of pandas, polars or pyarrow in memory.
        classes: class labels of the rows to keep; None: all rows.
        subset: the number of rows to keep of each class, in the order of ``classes`` or of
            increasing labels, over all splits together. In a folder with a test file, they count
            training and validation rows, and test rows are kept in the same proportions.
        binary: whether values above the middle of the training values' range become 1, others -1.
        bits: whether all values must be 0 or 1, as for RBMs of bits; with ``binary``, values that
            are not above the middle become 0 instead of -1.
        seed: seed of the random split and of the random choice of rows for ``subset``.

    Returns:
        The data set, with tensors on the CPU.

    Raises:
        FileNotFoundError: if the source is neither a known name nor an existing path.
        ValueError: if the file is damaged or too small, or has no such classes or rows.
    """
    choice = Choice(classes, subset, torch.Generator().manual_seed(seed))
    if isinstance(source, str) and source in NAMED:
        name = source
        with naming(source):
            parts = NAMED[source](choice)
    elif isinstance(source, Frame):
        name, parts = called(source), from_source(source, choice)
    else:
        path = existing(source)
        name, parts = str(path.resolve()), from_source(path, choice)
    with naming(source):
        return _finished(parts, name, binary=binary, bits=bits)


def rows_like(
    source: str | Path | Frame,
    shape: Sequence[int],
    scaling: Scaling,
    *,
    columns: Sequence[str] = (),
) -> Tensor:
    """Read new rows for a trained model, scaled in the same way as its training rows.

    Arguments:
        source: a path, or a table in memory, as for `noneq.data.read`.
        shape: the shape of one row of the model's training data.
        scaling: the scaling of the data set that the model was trained on.
        columns: the names of the columns that the model was trained on. If the source has names
            of columns, too, these columns are taken from it, in this order.

    Returns:
        The scaled rows, float32 (M, *shape).

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the rows have another shape, or lack a column.
    """
    raw = read_raw(source if isinstance(source, Frame) else existing(source))
    with naming(source):
        values = _arranged(checked(_by_name(raw, columns)).values)
        found, wants = values.shape[1:], tuple(shape)
        if found != wants:
            hint = "; reshape them" if np.prod(found) == np.prod(wants) else ""
            raise ValueError(f"rows of shape {found}, the model takes {wants}{hint}")
        low, high = float(values.min()), float(values.max())
        if scaling.threshold is not None and low < high <= scaling.threshold:
            raise ValueError(
                f"no value is above {scaling.threshold:g}, where the model's rows turn from 0 to "
                f"1 (the largest is {high:g}): give rows in the units it was trained on"
            )
        return _scaled(scaling, values)


# -- to the model's units
def _finished(parts: Parts, source: str, *, binary: bool, bits: bool) -> DataSet:
    splits = [_arranged(part) for part in parts[:3]]
    sizes = [len(part) for part in splits]
    if sizes[0] < 2 or min(sizes) < 1:
        raise ValueError(
            f"{sizes[0]} rows to train on, {sizes[1]} to validate with and {sizes[2]} to test "
            "with: too few; at least 2, 1 and 1 are needed"
        )
    kind: Literal["image", "table"] = "image" if splits[0].ndim == 4 else "table"
    if bits:
        scaling = for_bits(splits[0] if binary else np.concatenate(splits), binary=binary)
    elif binary:
        scaling = for_binary(splits[0])
    else:
        scaling = parts.scaling or {"image": for_images, "table": for_table}[kind](splits[0])
    train, validation, test = (_scaled(scaling, part) for part in splits)
    discrete = binary or bits or is_discrete(train)
    about = (parts.columns, _digest(splits), repeats_in(splits))
    return DataSet(train, validation, test, kind, scaling, source, discrete, *about)


def _arranged(values: Array) -> Array:
    """Return a table (M, D) as it is, and images of any layout as (M, C, H, W)."""
    if values.ndim == 2:
        return values
    if values.ndim == 3:
        return values[:, None]
    if values.ndim == 4 and values.shape[1] in (1, 3, 4):
        return values
    if values.ndim == 4 and values.shape[3] in (1, 3, 4):
        return np.moveaxis(values, 3, 1)
    raise ValueError(
        f"an array of shape {values.shape} is neither a table (M, D) nor images (M, H, W), "
        "(M, C, H, W) or (M, H, W, C) with C = 1, 3 or 4 channels"
    )


def _scaled(scaling: Scaling, values: Array) -> Tensor:
    rows = scaling.apply(torch.from_numpy(np.ascontiguousarray(values)))
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("a value is too far from the training rows for float32; drop its row")
    return rows


def _by_name(raw: Raw, columns: Sequence[str]) -> Raw:
    """Select the model's columns in order, if file and model both have unique column names."""
    names = raw.columns
    if not names or not columns or len({*names}) < len(names) or len({*columns}) < len(columns):
        return raw
    lacking = [repr(name) for name in columns if name not in names]
    if lacking:
        many = "columns" if len(lacking) > 1 else "column"
        raise ValueError(
            f"no {many} {', '.join(lacking[:5])}, which the model takes; the file's are "
            f"{', '.join(map(repr, names[:20]))}"
        )
    return raw._replace(
        values=raw.values[:, [names.index(c) for c in columns]], columns=tuple(columns)
    )


def _digest(splits: Sequence[Array]) -> str:
    """Return the sha256 of shapes and float64 values, which does not depend on the file's type."""
    found = hashlib.sha256()
    for part in splits:
        found.update(repr(part.shape).encode())
        for start in range(0, len(part), 4096):
            found.update(part[start : start + 4096].astype("<f8").tobytes())
    return found.hexdigest()
