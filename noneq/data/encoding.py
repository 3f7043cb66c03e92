"""The kinds of the selected columns of a table, and its rows as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noneq.data.cells import Cells
from noneq.data.kinds import Column, LeftOut, grid_of, kind_of
from noneq.data.readers import Raw
from noneq.data.repeats import observations
from noneq.data.tables import Selected, TableChoice, is_named, keep_columns, name_of, positions

__all__ = ["with_kinds"]


def with_kinds(found: Selected, choice: TableChoice, source: Raw) -> tuple[Selected, Cells]:
    """Find the kinds of columns, leave out those that nothing can be learned from, encode texts.

    Arguments:
        found: selected columns and rows.
        choice: kinds of columns that are not to be found.
        source: the table as it was read, with all columns.

    Returns:
        The selection, texts as the numbers of their categories, and its columns with their kinds.

    Raises:
        ValueError: all columns are constant, or a column cannot have the kind asked for.
    """
    asked = {i: kind for kind in ("categories", "continuous", "grid")
             for i in positions(getattr(choice, kind), source)}  # fmt: skip
    single = found.raw.values.dtype == np.float32
    values, texts = _encoded(found)
    distinct = int((observations(values) == np.arange(len(values))).sum())
    columns: list[Column] = []
    left_out = list(found.left_out)
    keep = []
    for k, i in enumerate(found.numbers):
        name = source.columns[i] if source.columns and is_named(source) else ""
        own = _kind(values[:, k], texts.get(k), asked.get(i), name_of(source, i), single, distinct)
        if isinstance(own, str) and own != "constant" and k not in texts:
            own = {"kind": "continuous"}
        if isinstance(own, str):
            left_out.append(LeftOut(name_of(source, i), own))
            continue
        keep.append(k)
        columns.append(Column(name, i + 1, **own))
    if not columns and all(why == "constant" for _, why in left_out):
        raise ValueError(f"nothing to learn: all {len(values):,} rows are the same")
    if not columns:
        raise ValueError("nothing to learn: " + ", ".join(f"{c} ({w})" for c, w in left_out[:5]))
    new = found._replace(raw=found.raw._replace(values=values, words={}), left_out=tuple(left_out))
    return keep_columns(new, keep), Cells(tuple(columns))


def _encoded(found: Selected) -> tuple[NDArray[Any], dict[int, tuple[str, ...]]]:
    """Return the rows with texts as numbers, and the texts of these columns by position."""
    values: NDArray[Any] = found.raw.values
    texts: dict[int, tuple[str, ...]] = {}
    for k, i in enumerate(found.numbers):
        words = found.raw.words.get(i)
        if words is not None:
            if not texts:
                values = values.astype(np.float64, copy=True)
            there, codes = np.unique(words.codes, return_inverse=True)
            values[:, k] = codes
            texts[k] = tuple(words.texts[code] for code in there)
    return values, texts


def _kind(
    values: NDArray[Any],
    texts: Sequence[str] | None,
    asked: str | None,
    called: str,
    single: bool,
    distinct: int,
) -> dict[str, Any] | str:
    """Return the fields of a column, or the reason to leave it out."""
    if texts is not None:
        if asked not in (None, "categories"):
            raise ValueError(f"column {called} holds text, and is not `{asked}`")
        numbers = tuple(float(i) for i in range(len(texts)))
        category = {"kind": "category", "levels": numbers, "texts": tuple(texts)}
        return "constant" if len(texts) == 1 else category
    values = values.astype(np.float64)
    if asked is None or (values == values[0]).all():
        return kind_of(values, single=single, distinct=distinct)
    levels = np.unique(values)
    if asked == "continuous":
        return {"kind": "continuous"}
    if asked == "categories":
        return {"kind": "category", "levels": tuple(levels.tolist())}
    step, offset = grid_of(levels, single=single)
    if not step:
        raise ValueError(f"the values of column {called} lie on no `grid`: leave it out there")
    positive = bool(levels[0] >= 0)
    return {"kind": "grid", "step": step, "offset": offset, "counted": True, "positive": positive}
