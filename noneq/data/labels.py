"""Class labels of rows: an array of their own, or a column of a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noneq.data.classes import whole
from noneq.data.readers import LABELS, Raw
from noneq.data.tables import Selected

__all__ = ["labelled", "labels_of"]


def labels_of(found: Selected) -> tuple[Selected, NDArray[np.int64]]:
    """Take the labels of a table: those of its source, or a column of labels.

    Arguments:
        found: selected columns and rows.

    Returns:
        The selection without the column of labels, and the labels as integers (M,).

    Raises:
        ValueError: if there are no labels, or if they are not whole numbers.
    """
    if found.raw.labels is not None:
        return found, whole(found.raw.labels)
    at = _label_column(found.raw)
    if found.numbers[at] in found.raw.words:
        raise ValueError(
            f"column {found.raw.columns[at]!r} holds text: labels are whole numbers, "
            "encode them as 0, 1, 2, ..."
        )
    return found.without(at), _whole(found.raw, at)


def labelled(raw: Raw) -> tuple[Raw, NDArray[np.int64]]:
    """Take the labels of rows: those of their source, or a column of labels.

    Arguments:
        raw: rows read from a source.

    Returns:
        The rows without the column of labels, and the labels as integers (M,).

    Raises:
        ValueError: if there are no labels, or if they are not whole numbers.
    """
    if raw.labels is not None:
        return raw, whole(raw.labels)
    found = _label_column(raw)
    columns = raw.columns[:found] + raw.columns[found + 1 :]
    labels = _whole(raw, found)
    return Raw(np.delete(raw.values, found, 1), labels, columns), labels


def _label_column(raw: Raw) -> int:
    """Find the column of labels, beside which there must be another."""
    names = [name.lower() for name in raw.columns]
    found = next((names.index(name) for name in LABELS if name in names), None)
    if found is None:
        raise ValueError(
            "no labels: they are looked for in an .npz file's array or a "
            f"table's column named {', '.join(LABELS[:-1])} or {LABELS[-1]}, and beside IDX "
            "images in the file ...labels-idx1-ubyte"
        )
    if len(names) == 1:
        raise ValueError(f"column {raw.columns[0]!r} holds the labels: no other is left")
    return found


def _whole(raw: Raw, at: int) -> NDArray[np.int64]:
    try:
        return whole(raw.values[:, at])
    except ValueError as error:
        raise ValueError(f"column {raw.columns[at]!r}: {error}") from error
