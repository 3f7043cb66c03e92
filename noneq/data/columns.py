"""Tables from text and parquet: numbers under names, or an error that names the columns at fault.

A line of text is a header if some field of it is text, unless it holds numbers too and the line
below holds text in the same places: then both are rows, of a table with text in it. Lines that
start with # are comments.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Table", "parquet", "text"]

_MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?", "-"))


class Table(NamedTuple):
    """Columns of numbers."""

    values: NDArray[np.float64]
    """(M, D), without missing values"""
    columns: tuple[str, ...]
    """D names, or none"""


class _Flaw(NamedTuple):
    """What is wrong with a column: first met at ``place``, ``times`` times in all."""

    column: str
    place: int
    example: Any
    times: int = 1


def text(path: Path) -> Table:
    """Read numbers separated by tabs, semicolons, commas or spaces, one row a line.

    Raises:
        ValueError: empty, ragged, text or missing values; names the columns and the first line.
    """
    try:
        return _table(path)
    except UnicodeDecodeError as error:
        raise ValueError("not text in UTF-8: save it with that encoding") from error


def _table(path: Path) -> Table:
    separator = _separator(path)
    head = list(islice(_records(path, separator), 2))
    if not head:
        raise ValueError("the file holds no rows")
    header = _is_header(*(fields for _, fields in head))
    if header and len(head) == 1:
        raise ValueError("a header, and no rows below it")
    skip, names = head[0] if header else (0, [])
    if separator is None and header and len(head[1][1]) == 1:
        names = [" ".join(names)]  # one column, whose name has spaces
    values = _numbers(path, separator, names, skip)
    if names and not names[0] and (values[:, 0] == np.arange(len(values))).all():
        raise ValueError(
            "column 1 has no name and numbers the rows: leave it out (pandas: to_csv(index=False))"
        )
    return Table(values, tuple(name or str(i + 1) for i, name in enumerate(names)))


def _numbers(
    path: Path, separator: str | None, names: Sequence[str], header: int
) -> NDArray[np.float64]:
    """The rows below the header's line."""
    try:
        values: NDArray[np.float64] = np.loadtxt(
            path,
            delimiter=separator,
            skiprows=header,
            ndmin=2,
            encoding="utf-8-sig",
            quotechar='"',
        )
        if not np.isnan(values).any() and values.shape[1] == (len(names) or values.shape[1]):
            return values
    except ValueError:
        pass  # what is wrong is said below, in people's words
    records = [record for record in _records(path, separator) if record[0] > header]
    diagnosis = _diagnosis(records, names, header)
    if diagnosis:
        raise ValueError(diagnosis)
    return np.array([[float(word) for word in fields] for _, fields in records])


def _separator(path: Path) -> str | None:
    """Of the first line that is no comment; None: spaces."""
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if line.strip() and not line.lstrip().startswith("#"):
                plain = re.sub('"[^"]*"', "", line)
                return next((mark for mark in "\t;," if mark in plain), None)
    return None


def _records(path: Path, separator: str | None) -> Iterator[tuple[int, list[str]]]:
    """Line numbers, from 1, and fields of the lines that are neither blank nor comments."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        if separator is None:
            reader: Iterator[list[str]] = (
                [field.strip('"') for field in line.split()] for line in file
            )
            numbered = enumerate(reader, 1)
        else:
            rows = csv.reader(file, delimiter=separator, skipinitialspace=True)
            numbered = ((rows.line_num, fields) for fields in rows)  # type: ignore[assignment]
        for line, fields in numbered:
            words = [word.strip() for word in fields]
            if words not in ([], [""]) and not words[0].startswith("#"):
                yield line, words


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def _is_text(word: str) -> bool:
    return not _is_number(word) and word.lower() not in _MISSING


def _is_header(first: Sequence[str], second: Sequence[str] = ()) -> bool:
    words = {i for i, word in enumerate(first) if _is_text(word)}
    below = {i for i, word in enumerate(second) if _is_text(word)}
    if not words and second:  # an unnamed column of row numbers beside columns called 0, 1, ...
        return len(first) > 1 and [i for i, w in enumerate(first) if not w] == [0] and all(second)
    return bool(words) and not (words <= below and any(map(_is_number, first)))


def _diagnosis(
    records: Sequence[tuple[int, list[str]]], names: Sequence[str], header: int
) -> str | None:
    """What is wrong with the rows below the header's line."""
    width, above, verb = len(names), header, "names"
    words: dict[int, _Flaw] = {}
    gaps: dict[int, _Flaw] = {}
    for line, fields in records:
        if not width:
            width, above, verb = len(fields), line, "has"
        if len(fields) != width:
            return (
                f"line {above} {verb} {width} columns, line {line} has {len(fields)}: "
                "every line needs as many, and text with the separator in it quotes"
            )
        for i, word in enumerate(fields):
            if word.lower() in _MISSING:
                _note(gaps, i, _Flaw(_called(names, i), line, word))
            elif not _is_number(word):
                _note(words, i, _Flaw(_called(names, i), line, word))
    in_order = [[found[i] for i in sorted(found)] for found in (words, gaps)]
    return _complaint(in_order[0], in_order[1], "line")


def _note(flaws: dict[int, _Flaw], i: int, flaw: _Flaw) -> None:
    known = flaws.get(i)
    flaws[i] = flaw if known is None else known._replace(times=known.times + 1)


def _called(names: Sequence[str], i: int) -> str:
    """How messages call column i: by its name, else by its number from 1."""
    return repr(names[i]) if names and names[i] else str(i + 1)


def _complaint(words: Sequence[_Flaw], gaps: Sequence[_Flaw], place: str) -> str | None:
    """One line for people; None where there is nothing to complain of."""
    parts = []
    if words:
        first = min(words, key=lambda flaw: flaw.place)
        strings = all(isinstance(flaw.example, str) for flaw in words)
        what = "text" if strings else "values that are not numbers"
        where = f"{first.example!r}, {place} {first.place}"
        parts.append(
            f"{_columns(words)} holds {what} ({where}): drop it or encode it as numbers"
            if len(words) == 1
            else f"{_columns(words)} hold {what} (the first: {where}): "
            "drop them or encode them as numbers"
        )
    if gaps:
        total, first = sum(flaw.times for flaw in gaps), min(gaps, key=lambda flaw: flaw.place)
        has, values = "has" if len(gaps) == 1 else "have", f"{total:,} missing values"
        parts.append(
            f"{_columns(gaps)} has 1 missing value (in {place} {first.place}): fill or drop it"
            if total == 1
            else f"{_columns(gaps)} {has} {values} (the first in {place} {first.place}): "
            "fill or drop them"
        )
    return "; ".join(parts) or None


def _columns(flaws: Sequence[_Flaw]) -> str:
    if len(flaws) == 1:
        return f"column {flaws[0].column}"
    shown = ", ".join(flaw.column for flaw in flaws[:5])
    return f"columns {shown}" + (f" and {len(flaws) - 5} more" if len(flaws) > 5 else "")


def parquet(path: Path) -> Table:
    """Read a parquet file's columns with pandas.

    Raises:
        ValueError: text, dates or missing values; names the columns and the first row, from 0.
        ImportError: no pandas, or none of the packages it reads parquet with.
    """
    try:
        import pandas

        table = pandas.read_parquet(path)
    except ImportError as error:
        raise ImportError(
            f"{path}: reading .parquet needs pandas and pyarrow (pip install pandas pyarrow)"
        ) from error
    names = tuple(str(name) for name in table.columns)
    values, words, gaps = [], [], []
    for i, (name, (_, column)) in enumerate(zip(names, table.items(), strict=True)):
        missing = column.isna().to_numpy()
        if column.dtype.kind in "fiub":
            values.append(column.to_numpy(dtype=np.float64, na_value=np.nan))
        elif not missing.all():
            row = int((~missing).argmax())
            words.append(_Flaw(_called(names, i), row, column.iloc[row]))
            continue
        if missing.any():
            gaps.append(_Flaw(_called(names, i), int(missing.argmax()), name, int(missing.sum())))
    complaint = _complaint(words, gaps, "row")
    if complaint:
        raise ValueError(complaint)
    return Table(np.stack(values, 1) if values else np.empty((len(table), 0)), names)
