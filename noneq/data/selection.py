"""Selection of training, validation and test rows of a data set, not scaled yet.

`from_source` reads a file, folder or table in memory, keeps the classes asked for, and splits the
rows; `NAMED` holds functions that do so for the data sets known by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noneq.data.cells import Cells
from noneq.data.checks import check_rows
from noneq.data.classes import Counts, choose, count, share, thinned, wanted
from noneq.data.digits import SIZES, raw_digits
from noneq.data.encoding import with_kinds
from noneq.data.files import Frame, called, existing_path
from noneq.data.folders import published
from noneq.data.kinds import Column
from noneq.data.labels import labelled, labels_of
from noneq.data.parts import Choice, Parts
from noneq.data.readers import FORMATS, LABELS, Raw, read_raw
from noneq.data.repeats import parted
from noneq.data.scaling import scalar
from noneq.data.tables import Selected, TableChoice, select

__all__ = [
    "NAMED",
    "checked",
    "existing",
    "from_source",
    "naming",
    "refuse_columns",
]

LEAST = 4  # rows that can be split into training, validation and test rows


@contextmanager
def naming(source: str | Path | Frame) -> Iterator[None]:
    """Put the name of a source before the message of each ValueError raised in a with block.

    Arguments:
        source: the path, or the table in memory, that the errors are about.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{called(source)}: {error}") from error


def existing(source: str | Path) -> Path:
    """Convert text to a path, and raise an error with a suggestion if nothing is there.

    Arguments:
        source: the path as the user gave it.

    Returns:
        The path, with ``~`` expanded.

    Raises:
        FileNotFoundError: if it does not exist; the message suggests the nearest name.
    """
    path = existing_path(source)
    if path.exists():
        return path
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, [*NAMED, *beside], n=1)
    guess = near and (near[0] if near[0] in NAMED else path.with_name(near[0]))
    raise FileNotFoundError(
        f"{source}: no such file or folder, and no data set of that name"
        + (f" (did you mean {guess}?)" if near else "")
        + f". Known by name: {', '.join(NAMED)}; else give a path to a file ({FORMATS}) or to a "
        "folder of IDX files or of CIFAR's"
    )


def from_source(source: Path | Frame, choice: Choice) -> Parts:
    """Read a source, select rows, and split them into training, validation and test rows.

    The splits are random, 70 / 10 / 20 % of the rows. In a folder of IDX files (MNIST's format) or
    of CIFAR's binary files with a test file, that file is the test split, and an eighth of the
    training images is the validation split.

    Arguments:
        source: an existing path, or a table in memory.
        choice: the classes and the numbers of rows to select.

    Returns:
        The three splits, with the names of columns if the source has them.

    Raises:
        ValueError: if the source is damaged, or has no such classes or too few rows.
    """
    if not isinstance(source, Frame) and source.is_dir():
        source, test = published(source)
        if test is not None:
            return _published(source, test, choice)
    raw = read_raw(source, loose=True)
    with naming(source):
        if raw.values.ndim != 2:
            refuse_columns(choice.table)
            raw, _ = _chosen(raw, choice)
            every = None if raw.labels is None else [raw.labels] * 3
            return _split(Parts(raw.values, raw.values, raw.values, labels=every), choice)
        if choice.labels:
            raise ValueError(
                "these rows are a table, and its label is a column like the others: leave `model` "
                "conditional out, and draw rows of one label by noneq sample RUN --given "
                "COLUMN=VALUE"
            )
        return _split(_table(raw, choice), choice)


def _split(all_rows: Parts, choice: Choice) -> Parts:
    """Split rows, which are given as all three parts."""
    values = all_rows.train
    n = len(values)
    held = max(1, round(n / 10)), max(1, round(n / 5))
    train = max(0, n - sum(held))
    order = torch.randperm(n, generator=choice.rng, device="cpu").numpy()
    rows = parted(values, order, (train, *held))
    first, second, third = (values[some] for some in rows)
    own = all_rows.labels
    labels = None if own is None else [own[0][some] for some in rows]
    return all_rows._replace(train=first, validation=second, test=third, labels=labels)


def _table(raw: Raw, choice: Choice) -> Parts:
    """Select columns and rows of a table, and find the kinds of its columns; not split yet."""
    if not raw.values.size:
        checked(raw)
    also = () if choice.everything or raw.labels is not None else LABELS
    found = select(raw, choice.table, also=also, kinds=choice.kinds)
    _check_numbers(found)
    if not choice.everything:
        found, labels = labels_of(found)
        counts = wanted(labels, choice.classes, choice.subset)
        found = found.rows(choose(labels, counts, choice.rng))
    if choice.kinds and len(found.raw.values) >= LEAST:
        found, cells = with_kinds(found, choice.table, raw)
    else:
        every = ((raw.columns[i] if raw.columns else "", i + 1) for i in found.numbers)
        cells = Cells(tuple(Column(name, number) for name, number in every))
    whole_table = cells.trivial and len(cells.columns) == raw.values.shape[1]
    names, values = found.raw.columns, found.raw.values
    own = None if whole_table and not choice.kinds else cells
    return Parts(values, values, values, names, None, own, found.left_out, found.gaps)


def _check_numbers(found: Selected) -> None:
    """Raise ValueError for a table without rows, or with values that are not finite."""
    numbers = [k for k, i in enumerate(found.numbers) if i not in found.raw.words]
    if numbers:
        checked(found.raw._replace(values=found.raw.values[:, numbers]))


def refuse_columns(table: TableChoice) -> None:
    """Raise ValueError if columns are chosen of what has none."""
    for name, value in zip(table._fields, table, strict=True):
        if value and name != "missing":
            raise ValueError(f"`{name}`: these rows are images, and have no columns")


def _published(path: Path, test: Path, choice: Choice) -> Parts:
    """Split a training file into training and validation rows, with test rows from a test file."""
    raw, rest = read_raw(path), read_raw(test)
    with naming(path):
        raw, counts = _chosen(raw, choice)
    with naming(test):
        rest = _thinned(rest, counts, choice)
        if rest.values.shape[1:] != raw.values.shape[1:]:
            raise ValueError(
                f"rows of shape {rest.values.shape[1:]}, but those of {path.name} have "
                f"{raw.values.shape[1:]}"
            )
    order = torch.randperm(len(raw.values), generator=choice.rng, device="cpu").numpy()
    n, held = len(order), max(1, len(order) // 8)
    first, second = parted(raw.values, order, (n - held, held))
    labels = None
    if raw.labels is not None and rest.labels is not None:
        labels = raw.labels[first], raw.labels[second], rest.labels
    return Parts(raw.values[first], raw.values[second], rest.values, labels=labels)


def _digits(choice: Choice) -> Parts:
    """Select digits from each part of their fixed split, in proportion to the rows it has."""
    pixels, labels = raw_digits()
    cuts = np.cumsum(SIZES)[:2]
    parts, classes = np.split(pixels.reshape(-1, 1, 8, 8), cuts), np.split(labels, cuts)
    if not choice.everything:
        there = [count(part) for part in classes]
        shares = {
            c: share(number, [part[c] for part in there])
            for c, number in wanted(labels, choice.classes, choice.subset).items()
        }
        for i, part in enumerate(classes):
            numbers = {c: given[i] for c, given in shares.items()}
            rows = choose(part, numbers, choice.rng)
            parts[i], classes[i] = parts[i][rows], part[rows]
    train, validation, test = parts
    own = classes if choice.labels else None
    return Parts(train, validation, test, scaling=scalar(8.0, 8.0), labels=own)


NAMED: dict[str, Callable[[Choice], Parts]] = {"digits": _digits}
"""The data sets known by name: a dictionary from names to functions that select and split rows."""


def _chosen(raw: Raw, choice: Choice) -> tuple[Raw, Counts]:
    """Return the rows asked for and the number of each class; no numbers if all are kept."""
    raw = checked(raw)
    if choice.everything:
        return _with_labels(raw, choice), {}
    raw, labels = labelled(raw)
    counts = wanted(labels, choice.classes, choice.subset)
    return _taken(raw, labels, counts, choice), counts


def _with_labels(raw: Raw, choice: Choice) -> Raw:
    """Keep the labels of rows, as integers, where they are asked for."""
    if not choice.labels:
        return raw._replace(labels=None)
    raw, labels = labelled(raw)
    return raw._replace(labels=labels)


def _taken(raw: Raw, labels: NDArray[np.int64], counts: Counts, choice: Choice) -> Raw:
    """Draw so many rows of each class, with their labels where they are asked for."""
    rows = choose(labels, counts, choice.rng)
    own = labels[rows] if choice.labels else None
    return raw._replace(values=raw.values[rows], labels=own)


def _thinned(rest: Raw, counts: Counts, choice: Choice) -> Raw:
    """Return the test rows of the same classes and, for a subset, in the same proportions."""
    rest = checked(rest)
    if choice.everything:
        return _with_labels(rest, choice)
    rest, labels = labelled(rest)
    there = count(labels)
    lacking = [c for c in counts if c not in there]
    if lacking:
        raise ValueError(f"no rows of class {lacking[0]} to test with; leave it out of classes")
    numbers = {c: there[c] for c in counts}
    if choice.subset is not None:
        numbers = thinned(counts, there)
    return _taken(rest, labels, numbers, choice)


def checked(raw: Raw) -> Raw:
    """Check that an array of rows is not empty and that all of its values are finite.

    Arguments:
        raw: the rows read from a file or a table in memory.

    Returns:
        The argument, unchanged.

    Raises:
        ValueError: if there are no values, or NaN or infinite ones.
    """
    if not raw.values.size:
        raise ValueError(f"no values in it: an array of shape {raw.values.shape}")
    if raw.values.dtype.kind == "f":
        check_rows(torch.from_numpy(raw.values))
    return raw
