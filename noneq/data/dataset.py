"""A data set by name or path, ready to train on: split, scaled, and known again by its digest.

================ ============ ================================================================
array            rows         x
================ ============ ================================================================
(M, D)           (D,)         columns by the training rows' mean and standard deviation
(M, H, W)        (1, H, W)    integers to [-1, 1], other values as `for_images` has it
(M, C, H, W)     (C, H, W)    the same; C is 1, 3 or 4, first or (where that fits) last
================ ============ ================================================================

Rows are split 70 / 10 / 20 by a permutation, copies of a row into one split (`Repeats`). A folder
of IDX files with a test file (t10k, or test) keeps that as its test split and gives one eighth of
the training file to validation. The digits have a split of their own.

Labels choose rows and are not trained on. A table's column named y, label(s), target(s) or class
is a column like any other; only where classes or a subset are asked for it is taken for the
labels, and out of the rows.
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

NAME = 40  # characters of a column's name that people are shown


@dataclass(frozen=True, eq=False)
class DataSet:
    """Rows to train on, to choose by and to report on once, in the model's units.

    Attributes:
        train: float32 (M, *shape).
        validation: the same.
        test: the same.
        kind: "image", rows (C, H, W), or "table", rows (D,).
        scaling: from the file's units to the model's.
        source: a known name, an absolute path, or what kind of frame it was.
        discrete: no density without noise, see `is_discrete`; always true of a binary set.
        columns: names, of a table with a header.
        digest: sha256 of the raw values and shapes of the three splits: the same data again?
        repeats: how many rows equal others, and how many of these in another split.
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
        """Of one row."""
        return tuple(self.train.shape[1:])

    def to(self, device: torch.device | str) -> DataSet:
        """The same, its rows on that device."""
        splits = (self.train, self.validation, self.test)
        train, validation, test = (part.to(device) for part in splits)
        return replace(self, train=train, validation=validation, test=test)

    def plain(self) -> dict[str, Any]:
        """What a file should remember of it: all but the rows."""
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
        """One line for people."""
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
    """Read a data set, choose rows, split them and scale them by the training rows.

    Arguments:
        source: "digits", a path to a file or a folder of IDX files (`noneq.data.read`), or a
            frame of pandas, polars or pyarrow. A path that is called as a known name is given as
            "./digits" or as a Path.
        classes: rows with these labels only.
        subset: so many rows of each class, in the order of ``classes``, or of all classes in
            order; from the three splits together, and from the training file where the test rows
            have their own: these keep the proportions, as many as there are.
        binary: values above the middle of the training range become 1, others -1.
        bits: rows of 0 and 1, as machines of bits take them; with ``binary`` 0 in place of -1.
        seed: of the split and of the choice within a class.

    Raises:
        FileNotFoundError: neither a known name nor a path.
        ValueError: a file or a choice that is wrong; says which file, what and what to do.
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
    """Read rows for a model of such rows: float32 (M, *shape), in its units.

    Arguments:
        source: a path or a frame, as for `noneq.data.read`.
        shape: of the model's rows.
        scaling: of the set the model was trained on.
        columns: its columns; where the file has a header too, they are taken by name, whatever
            their order, and other columns are left out.

    Raises:
        FileNotFoundError: no such path.
        ValueError: other rows than the model's; says what it takes and what the file holds.
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
    """(M, D), or (M, C, H, W) of images however they are laid out."""
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
    """The model's columns in their order, where both sides name them without repeating a name."""
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
    """Of shapes and values, whatever type the file keeps them in."""
    found = hashlib.sha256()
    for part in splits:
        found.update(repr(part.shape).encode())
        for start in range(0, len(part), 4096):
            found.update(part[start : start + 4096].astype("<f8").tobytes())
    return found.hexdigest()
