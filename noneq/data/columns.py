"""Tables of named columns of numbers, and one error message for all that is wrong with a table.

`Faults` collects what cannot be used (text, missing values, integers that float64 cannot hold)
while a table is read piece by piece, and names the columns concerned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noneq.data.words import Words

__all__ = ["EXACT", "Faults", "Table", "beyond", "check_index"]

EXACT = 2**53
"""The integer 2^53: float64 holds all integers up to it exactly, but not all larger ones."""
_KINDS = ("words", "gaps", "integers")


class Table(NamedTuple):
    """Holds a table of M rows and D columns of numbers, with the names of the columns.

    Attributes:
        values: the numbers (M, D); NaN where a value is missing or no number.
        columns: the D names of the columns; empty if they have none.
        faults: what is wrong with the columns; None: nothing.
        words: the columns that hold texts or dates, by their index.
    """

    values: NDArray[np.float64]
    columns: tuple[str, ...]
    faults: Faults | None = None
    words: Mapping[int, Words] = MappingProxyType({})


class _Fault(NamedTuple):
    """Holds one kind of fault of a column: first place, example, number of occurrences."""

    place: int
    example: Any
    times: int = 1


@dataclass
class Faults:
    """Collects what is wrong with the columns of a table, while the table is read piece by piece.

    ``bool(faults)`` tells whether anything is wrong, and ``str(faults)`` is the error message. The
    dictionaries map the index of a column, from 0, to its first bad value and the number of them.

    Attributes:
        unit: what messages count: "line" for a text file, from 1, or "row" for a table in memory,
            from 0.
        names: the names of the columns; a column without a name is called by its number, from 1.
        words: the columns with values that are not numbers.
        gaps: the columns with missing values.
        integers: the columns with integers that float64 does not hold exactly.
    """

    unit: str
    names: Sequence[str] = ()
    words: dict[int, _Fault] = field(default_factory=dict)
    gaps: dict[int, _Fault] = field(default_factory=dict)
    integers: dict[int, _Fault] = field(default_factory=dict)

    def note(self, kind: str, column: int, place: int, example: Any, times: int = 1) -> None:
        """Record that a column holds values that cannot be used.

        Arguments:
            kind: "words" for values that are no numbers, "gaps" for missing values, or "integers"
                for integers that float64 does not hold exactly.
            column: the index of the column, from 0.
            place: the line or row of the first such value in the piece of the table being read.
            example: that value.
            times: the number of such values in this piece.
        """
        found: dict[int, _Fault] = getattr(self, kind)
        known = found.get(column, _Fault(place, example, 0))
        found[column] = known._replace(times=known.times + times)

    def among(self, kind: str, columns: Iterable[int]) -> Faults:
        """Select the faults of one kind in some columns.

        Arguments:
            kind: "words", "gaps" or "integers".
            columns: the indices of the columns, from 0.

        Returns:
            The faults, which are empty (False) if there are none.
        """
        found: dict[int, _Fault] = getattr(self, kind)
        own = {i: found[i] for i in columns if i in found}
        return Faults(self.unit, self.names, **{kind: own})

    def __bool__(self) -> bool:
        return any(getattr(self, kind) for kind in _KINDS)

    def __str__(self) -> str:
        """Return the error message: for each kind of fault the columns, an example and advice."""
        return "; ".join(filter(None, (self._words(), self._gaps(), self._integers())))

    def _words(self) -> str:
        if not self.words:
            return ""
        strings = all(isinstance(fault.example, str) for fault in self.words.values())
        what = "text" if strings else "values that are not numbers"
        place, example, _ = _first(self.words)
        where = f"{_short(example)}, {self.unit} {place}"
        message = (
            f"{self._columns(self.words)} holds {what} ({where}): drop it or encode it as numbers"
            if len(self.words) == 1
            else f"{self._columns(self.words)} hold {what} (the first: {where}): "
            "drop them or encode them as numbers"
        )
        comma = isinstance(example, str) and re.fullmatch(r"[+-]?[\d.]*,\d+", example)
        return message + ", with a decimal point and no commas" * bool(comma)

    def _gaps(self) -> str:
        if not self.gaps:
            return ""
        total, place = sum(fault.times for fault in self.gaps.values()), _first(self.gaps).place
        columns = self._columns(self.gaps)
        if total == 1:
            return f"{columns} has 1 missing value (in {self.unit} {place}): fill or drop it"
        where = f"(the first in {self.unit} {place}): fill or drop them"
        if len(self.gaps) == 1:
            return f"{columns} has {total:,} missing values {where}"
        each = sorted(((fault.times, i) for i, fault in self.gaps.items()), key=lambda x: -x[0])
        most = ", ".join(f"{times:,} in {self._called(i)}" for times, i in each[:5])
        most = f"most of them {most}" if len(each) > 5 else most
        return f"{columns} have {total:,} missing values, {most} {where}"

    def _integers(self) -> str:
        if not self.integers:
            return ""
        place, example, _ = _first(self.integers)
        holds, it = ("holds", "it") if len(self.integers) == 1 else ("hold", "them")
        return (
            f"{self._columns(self.integers)} {holds} {beyond(example, f', {self.unit} {place}')} "
            f"drop {it}"
        )

    def _columns(self, numbers: Iterable[int]) -> str:
        called = [self._called(i) for i in sorted(numbers)]
        if len(called) == 1:
            return f"column {called[0]}"
        rest = f" and {len(called) - 5} more" if len(called) > 5 else ""
        return f"columns {', '.join(called[:5])}{rest}"

    def _called(self, i: int) -> str:
        """Return the name of column i in messages, or its number from 1 if it has none."""
        return _short(self.names[i]) if self.names and self.names[i] else str(i + 1)


def beyond(integer: object, where: str = "") -> str:
    """Begin the error message about an integer that float64 does not hold exactly.

    Arguments:
        integer: the integer, or its text.
        where: text inserted after the integer, such as ", line 3".

    Returns:
        The message, which ends with "or": the caller appends other advice.
    """
    return (
        f"integers beyond 2^53 ({str(integer)[:40]}{where}), which floating-point numbers do not "
        "tell apart: subtract an offset or"
    )


def check_index(names: Sequence[str], values: NDArray[np.float64]) -> None:
    """Raise an error if the first column of a table is the index of a pandas frame, saved with it.

    Arguments:
        names: the names of the columns.
        values: the table (M, D).

    Raises:
        ValueError: if the first column has no name, or a name that pandas gives to an index, and
            holds 0, 1, ..., M - 1.
    """
    unnamed = names and re.fullmatch(r"|Unnamed: \d+|__index_level_\d+__", names[0])
    if unnamed and (values[:, 0] == np.arange(len(values))).all():
        raise ValueError(
            "column 1 has no name and numbers the rows: leave it out (pandas: to_csv(index=False))"
        )


def _first(faults: Mapping[int, _Fault]) -> _Fault:
    return min(faults.values(), key=lambda fault: fault.place)


def _short(value: Any) -> str:
    """Return a value in Python's notation, which shows control characters, cut if it is long."""
    text = repr(value[:200] if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:56] + "..." + text[-1]
