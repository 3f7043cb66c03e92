"""Selection of the columns and rows of a table, before the kinds of its columns are found.

`select` leaves out columns and rows; `noneq.data.encoding` finds the kinds of the columns that are
left, and turns texts to the numbers of their categories.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from noneq.data.columns import check_index
from noneq.data.identifiers import identifies
from noneq.data.kinds import NAME, LeftOut, kind_of_words
from noneq.data.plaintext import visible
from noneq.data.readers import Raw
from noneq.data.sentences import listed

__all__ = [
    "Selected", "TableChoice", "check_faults", "complete_rows", "is_named", "keep_columns",
    "name_of", "positions", "select",
]  # fmt: skip

MIXED = 0.5  # share of numbers from which texts are mistakes in a column of numbers
Missing: TypeAlias = Literal["refuse", "drop"]


class TableChoice(NamedTuple):
    """Which columns and rows of a table to take, and kinds of columns that are not to be found.

    Columns are named, or numbered from 1 in a file without names.

    Attributes:
        columns: the columns to take; empty: all.
        drop: columns to leave out.
        categories: columns whose different values are categories.
        continuous: columns that have a density, even if values repeat.
        grid: columns of counts or of other values on a grid, whose cells have probabilities.
        missing: "refuse": missing values are an error; "drop": their rows are left out.
    """

    columns: Sequence[str] = ()
    drop: Sequence[str] = ()
    categories: Sequence[str] = ()
    continuous: Sequence[str] = ()
    grid: Sequence[str] = ()
    missing: Missing = "refuse"


class Selected(NamedTuple):
    """Columns and rows of a table that were selected.

    Attributes:
        raw: the rows; its columns, but not the keys of its words, are those selected.
        numbers: for each column its position in the source, from 0.
        left_out: columns that are left out for what they hold.
        gaps: number of rows left out for missing values.
    """

    raw: Raw
    numbers: tuple[int, ...]
    left_out: tuple[LeftOut, ...] = ()
    gaps: int = 0

    def rows(self, index: NDArray[Any]) -> Selected:
        """Select rows by their indices, or by flags (M,)."""
        raw = self.raw
        words = {j: own._replace(codes=own.codes[index]) for j, own in raw.words.items()}
        labels = None if raw.labels is None else raw.labels[index]
        return self._replace(
            raw=raw._replace(values=raw.values[index], labels=labels, words=words)
        )

    def without(self, position: int) -> Selected:
        """Leave out the column at a position, from 0, among those selected."""
        return keep_columns(self, [k for k in range(len(self.numbers)) if k != position])


def select(
    raw: Raw, choice: TableChoice, *, also: Sequence[str] = (), kinds: bool = True
) -> Selected:
    """Select columns of a table, and rows without missing values.

    Arguments:
        raw: table, read loosely.
        choice: columns to take or to leave out, and what to do with missing values.
        also: names of columns to take even if ``choice`` does not name them, if they exist.
        kinds: whether columns of text may be categories; otherwise they are an error.

    Returns:
        The selection.

    Raises:
        ValueError: no column has such a name, no column is left, or a column holds values that
            cannot be used.
    """
    taken, out = positions(choice.columns, raw), positions(choice.drop, raw)
    everything = range(raw.values.shape[1])
    own = {i for i, name in enumerate(raw.columns) if name.lower() in also}
    keep = [i for i in (taken or everything) if i not in out or i in own]
    keep = sorted({*keep, *own})
    if not keep:
        raise ValueError("no column is left")
    as_category = set(positions(choice.categories, raw))
    named = {*taken, *as_category, *positions([*choice.continuous, *choice.grid], raw)}
    left_out = []
    for i in list(keep):
        why = _useless(raw, i, as_category, alone=len(keep) == 1 or i in named) if kinds else ""
        if why and i in taken:
            raise ValueError(f"column {name_of(raw, i)} ({why}) cannot be used: leave it out")
        if why:
            left_out.append(LeftOut(name_of(raw, i), why))
            keep.remove(i)
    if not keep:
        raise ValueError("no column can be used: " + listed([f"{c} ({w})" for c, w in left_out]))
    check_faults(raw, keep, as_category if kinds else None)
    if not kinds and 0 in keep:
        check_index(["" if raw.columns[:1] == ("1",) else n for n in raw.columns[:1]], raw.values)
    found = keep_columns(Selected(raw, tuple(everything), tuple(left_out)), keep)
    return complete_rows(found, choice.missing)


def keep_columns(found: Selected, keep: Sequence[int]) -> Selected:
    """Keep some columns of a selection.

    Arguments:
        found: the selection.
        keep: positions of the columns, from 0, among those selected.

    Returns:
        A selection of these columns, in this order.
    """
    raw = found.raw
    names = tuple(raw.columns[i] for i in keep) if raw.columns else ()
    numbers = tuple(found.numbers[i] for i in keep)
    if list(keep) == list(range(raw.values.shape[1])):
        return found
    return found._replace(
        raw=raw._replace(values=raw.values[:, keep], columns=names), numbers=numbers
    )


def positions(names: Sequence[str], raw: Raw) -> list[int]:
    """Find columns by name, or by number from 1 where they have no names.

    Arguments:
        names: names or numbers of columns.
        raw: table.

    Returns:
        Their positions, from 0.

    Raises:
        ValueError: there is no such column.
    """
    known, found = list(raw.columns), []
    for name in names:
        width = raw.values.shape[1]
        if name in known:
            found += [i for i, other in enumerate(known) if other == name]
        elif name.isdecimal() and 1 <= int(name) <= width and not is_named(raw):
            found.append(int(name) - 1)
        elif not is_named(raw):
            raise ValueError(
                f"no column {name}: the columns have no names, give numbers, 1 to {width}"
            )
        else:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            shown = ", ".join(map(repr, known[:20])) + ", ..." * (len(known) > 20)
            raise ValueError(f"no column {name!r}{hint or f'; there are {shown}'}")
    return found


def is_named(raw: Raw) -> bool:
    """Tell whether the columns of a table have names.

    Arguments:
        raw: table.

    Returns:
        False if they have none, or are called 1, 2, 3, ...
    """
    return any(name != str(i + 1) for i, name in enumerate(raw.columns))


def name_of(raw: Raw, i: int) -> str:
    """Name a column for a message.

    Arguments:
        raw: table.
        i: position of the column, from 0.

    Returns:
        Its name, cut if it is long, or its number from 1 if it has none.
    """
    return visible(raw.columns[i], NAME) if raw.columns and raw.columns[i] else str(i + 1)


def _useless(raw: Raw, i: int, as_category: set[int], *, alone: bool) -> str:
    """Say why a column cannot be used, unless constant; empty if it can. ``alone``: it must be."""
    words = raw.words.get(i)
    there = np.isfinite(raw.values[:, i]) if words is None else words.codes >= 0
    if not there.any():
        return "empty" if len(there) else ""
    if words is None:
        return identifies(raw.values[:, i].astype(np.float64)) if there.all() and not alone else ""
    if words.numbers > MIXED:
        return ""
    if not words.texts:
        return words.what
    found = kind_of_words(words.codes[there], words.texts)
    return found if isinstance(found, str) and i not in as_category else ""


def check_faults(raw: Raw, keep: Sequence[int], as_category: set[int] | None) -> None:
    """Raise an error for text in a column of numbers, and integers that float64 does not hold.

    Arguments:
        raw: table, read loosely.
        keep: positions of the columns that are used.
        as_category: positions of columns of numbers and text whose values are categories; None:
            no column may hold text.

    Raises:
        ValueError: a column holds values that cannot be used.
    """
    if raw.faults is None:
        return
    texts = [
        i
        for i in keep
        if as_category is None
        or (i in raw.words and raw.words[i].numbers > MIXED and i not in as_category)
    ]
    for fault in (raw.faults.among("words", texts), raw.faults.among("integers", keep)):
        if fault:
            raise ValueError(f"{fault}; `drop` leaves a column out")


def complete_rows(found: Selected, missing: Missing | None) -> Selected:
    """Leave out rows with missing values, or raise an error if there are any.

    Arguments:
        found: selected columns and rows.
        missing: "drop" or "refuse"; None: refuse, where the caller has no such choice.

    Returns:
        The selection, with the number of rows that were left out.

    Raises:
        ValueError: there are missing values, and they are refused, or no row is without.
    """
    raw = found.raw
    gaps = np.zeros(raw.values.shape, bool)
    for k, i in enumerate(found.numbers):
        words = raw.words.get(i)
        if words is not None:
            gaps[:, k] = words.codes < 0
        elif raw.values.dtype.kind == "f":
            gaps[:, k] = np.isnan(raw.values[:, k])
    rows: NDArray[np.bool_] = np.asarray(gaps.any(1))
    if not rows.any():
        return found
    if missing != "drop":
        advice = ", or leave out their rows (`missing` drop)" if missing else ""
        faults = raw.faults and raw.faults.among("gaps", found.numbers)
        if faults:
            raise ValueError(f"{faults}{advice}")
        raise ValueError(
            f"data holds NaN or infinite values in {int(rows.sum()):,} of {len(rows):,} rows "
            f"(the first: row {int(rows.argmax())}); drop or fill them{advice}"
        )
    if rows.all():
        names = [name_of(raw, k) for k in np.argsort(-gaps.sum(0), kind="stable")[:3]]
        raise ValueError(
            "every row has a missing value, most of them in column "
            f"{names[0]}: leave out columns (`drop`)"
        )
    return found.rows(~rows)._replace(gaps=int(rows.sum()))
