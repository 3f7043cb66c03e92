"""Data sets by name, path or frame, split and scaled so that a model can be trained on them.

`load` reads and splits a source into a `DataSet`.
In x, the rows that a model is trained on, the values of the array are scaled:

================ ============ ================================================================
array            row of x     values of x
================ ============ ================================================================
(M, D)           (D,)         each column standardised by its mean and sd over training rows,
                              repeated values spread over intervals (`noneq.data.cells`) before
(M, H, W)        (1, H, W)    integers mapped to [-1, 1], see `noneq.data.scaling.for_images`
(M, C, H, W)     (C, H, W)    as (M, H, W); the axis C = 1, 3 or 4 may also be the last one
================ ============ ================================================================

Rows are split 70 / 10 / 20 (train / validation / test) at random; copies of a row go into the same
split. If a folder of IDX files or of CIFAR's binary files has test images (t10k... or test...),
that file is the test split and one eighth of the training images is the validation split. The
digits have a fixed split.

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
from noneq.data.kinds import LeftOut
from noneq.data.labelled import labels_among
from noneq.data.parts import Array, Choice, Parts
from noneq.data.plaintext import visible
from noneq.data.repeats import Repeats, repeats_in
from noneq.data.scaling import Scaling
from noneq.data.selection import (
    NAMED,
    existing,
    from_source,
    naming,
    refuse_columns,
)
from noneq.data.sentences import sentences
from noneq.data.standards import for_binary, for_bits, for_images, for_table
from noneq.data.tables import TableChoice
from noneq.data.units import arranged, scaled

__all__ = ["DataSet", "load"]

DRAWS, POINTS = 16, 200_000  # draws of a row from its cells, rows of a split with draws, at most
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
        discrete: whether rows are binary, or images that look discrete (`is_discrete`), so that a
            density needs noise.
        columns: the names of a table's columns; empty if it has none.
        digest: sha256 of the unscaled values of all splits, which identifies the data.
        repeats: the number of rows equal to an earlier row, and the number of validation and test
            rows equal to a row of an earlier split.
        draws: how many times each split holds all of its rows, one after another, each time with
            other draws of repeated values from their intervals (`noneq.data.cells`).
        left_out: columns of a table that are left out, with reasons.
        gaps: number of rows left out for missing values.
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
    draws: int = 1
    left_out: tuple[LeftOut, ...] = ()
    gaps: int = 0

    def __repr__(self) -> str:
        return f"DataSet({self.source}: {self.summary()})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one row, (C, H, W) for images or (D,) for tables.

        A row of an image with its label has the shape (C H W + k,) for k classes.
        """
        return tuple(self.train.shape[1:])

    @property
    def _image(self) -> str:
        labels = self.scaling.labels
        if labels is None:
            return str(self.shape)
        return f"{labels.shape} with labels {labels}"

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Return the numbers of training, validation and test rows, not counting their draws."""
        parts = (self.train, self.validation, self.test)
        train, validation, test = (len(part) // self.draws for part in parts)
        return train, validation, test

    def kinds(self) -> str:
        """Describe the kinds of a table's columns (`noneq.data.kinds`), and what is left out.

        Returns:
            A text without line breaks; empty for other data, and if all columns are continuous.
        """
        cells = self.scaling.cells
        own = [sentences(cells.columns if cells else (), self.left_out)]
        plain = cells is None or (cells.trivial and not self.left_out)
        if plain or self.scaling.threshold is not None:
            own = []
        if self.gaps:
            own.append(f"{self.gaps:,} rows with missing values are left out")
        return "; ".join(own)

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
            "rows": list(self.sizes),
            "draws": self.draws,
            "left_out": [list(one) for one in self.left_out],
            "gaps": self.gaps,
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
        sizes = " / ".join(f"{size:,}" for size in self.sizes)
        names = ", ".join(visible(name, NAME) for name in self.columns[:6]) + (
            ", ..." if len(self.columns) > 6 else ""
        )
        many = f"{self.shape[0]} column" + "s" * (self.shape[0] != 1)
        rows = {
            "image": f"images of shape {self._image}",
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
    labels: bool = False,
    seed: int = 0,
    **table: Any,
) -> DataSet:
    """Read a data set, split it 70 / 10 / 20 at random, and scale it for training a model.

    Integer pixels are mapped to [-1, 1], and columns of a table standardised by the training rows.
    The kinds of a table's columns are found (`noneq.data.kinds`): values that repeat are spread
    over intervals, texts become categories, and columns that identify the rows are left out.
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
        labels: whether rows of images hold their labels behind the pixels, as one-hot vectors
            (`noneq.data.labelled.Labels`), for models that are conditional on the label.
        seed: seed of the random split and of the random choice of rows for ``subset``.
        **table: choices of a table's columns and rows: ``columns``, ``drop``, ``categories``,
            ``continuous`` and ``grid``, sequences of names of columns, or of numbers from 1 as
            texts where the columns have no names; and ``missing``, see
            `noneq.data.tables.TableChoice`.

    Returns:
        The data set, with tensors on the CPU.

    Raises:
        FileNotFoundError: if the source is neither a known name nor an existing path.
        ValueError: if the file is damaged or too small, or has no such classes, rows or columns.
    """
    own = TableChoice(**table)
    kinds = not (binary or bits)
    choice = Choice(classes, subset, torch.Generator().manual_seed(seed), own, kinds, labels)
    if isinstance(source, str) and source in NAMED:
        name = source
        with naming(source):
            refuse_columns(own)
            parts = NAMED[source](choice)
    elif isinstance(source, Frame):
        name, parts = called(source), from_source(source, choice)
    else:
        path = existing(source)
        name, parts = str(path.resolve()), from_source(path, choice)
    with naming(source):
        return _finished(parts, name, binary=binary, bits=bits)


# -- to the model's units
def _finished(parts: Parts, source: str, *, binary: bool, bits: bool) -> DataSet:
    splits = [arranged(part) for part in parts[:3]]
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
    elif kind == "table":
        scaling = for_table(splits[0], parts.cells)
    else:
        scaling = parts.scaling or for_images(splits[0])
    if parts.cells is not None:
        scaling = replace(scaling, cells=parts.cells.with_ranges(splits[0]))
    repeated = parts.cells is not None and parts.cells.repeats and not (binary or bits)
    draws = max(1, min(DRAWS, POINTS // sizes[0])) if repeated else 1
    train, validation, test = (
        scaled(scaling, part, draws, seed) for seed, part in enumerate(splits)
    )
    discrete = binary or bits or (kind == "image" and is_discrete(train))
    if parts.labels is not None:
        named = labels_among(parts.labels, tuple(train.shape[1:]))
        scaling = replace(scaling, labels=named)
        train, validation, test = map(named.join, (train, validation, test), parts.labels)
    about = (parts.columns, _digest(splits), repeats_in(splits), draws, parts.left_out, parts.gaps)
    return DataSet(train, validation, test, kind, scaling, source, discrete, *about)


def _digest(splits: Sequence[Array]) -> str:
    """Return the sha256 of shapes and float64 values, which does not depend on the file's type."""
    found = hashlib.sha256()
    for part in splits:
        found.update(repr(part.shape).encode())
        for start in range(0, len(part), 4096):
            found.update(part[start : start + 4096].astype("<f8").tobytes())
    return found.hexdigest()
