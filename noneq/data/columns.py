"""Columns of numbers under names, or one line that names the columns at fault."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["EXACT", "Faults", "Table", "beyond", "check_index"]

EXACT = 2**53
"""Float64 holds every integer up to this one, and not every one above it."""
_KINDS = ("words", "gaps", "integers")


class Table(NamedTuple):
    """Columns of numbers."""

    values: NDArray[np.float64]
    """(M, D), without missing values"""
    columns: tuple[str, ...]
    """D names, or none"""


class _Fault(NamedTuple):
    """What is wrong with a column: first met at ``place``, ``times`` times in all."""

    place: int
    example: Any
    times: int = 1


@dataclass
class Faults:
    """What is wrong with a table's columns, gathered while it is read piece by piece.

    Attributes:
        unit: what a place counts: "line" of a text, from 1, or "row" of a frame, from 0.
        names: of the columns; those that have none are called by their number, from 1.
        words: values that are no numbers, by column.
        gaps: missing values.
        integers: integers that float64 does not hold exactly.
    """

    unit: str
    names: Sequence[str] = ()
    words: dict[int, _Fault] = field(default_factory=dict)
    gaps: dict[int, _Fault] = field(default_factory=dict)
    integers: dict[int, _Fault] = field(default_factory=dict)

    def note(self, kind: str, column: int, place: int, example: Any, times: int = 1) -> None:
        """Add what was found in a column of the piece being read."""
        found: dict[int, _Fault] = getattr(self, kind)
        known = found.get(column, _Fault(place, example, 0))
        found[column] = known._replace(times=known.times + times)

    def __bool__(self) -> bool:
        return any(getattr(self, kind) for kind in _KINDS)

    def __str__(self) -> str:
        """One line for people: the columns, the first example and what to do."""
        return "; ".join(filter(None, (self._words(), self._gaps(), self._integers())))

    def _words(self) -> str:
        if not self.words:
            return ""
        strings = all(isinstance(fault.example, str) for fault in self.words.values())
        what = "text" if strings else "values that are not numbers"
        place, example, _ = _first(self.words)
        where = f"{_short(example)}, {self.unit} {place}"
        told = (
            f"{self._columns(self.words)} holds {what} ({where}): drop it or encode it as numbers"
            if len(self.words) == 1
            else f"{self._columns(self.words)} hold {what} (the first: {where}): "
            "drop them or encode them as numbers"
        )
        comma = isinstance(example, str) and re.fullmatch(r"[+-]?[\d.]*,\d+", example)
        return told + ", with a decimal point and no commas" * bool(comma)

    def _gaps(self) -> str:
        if not self.gaps:
            return ""
        total, place = sum(fault.times for fault in self.gaps.values()), _first(self.gaps).place
        columns = self._columns(self.gaps)
        if total == 1:
            return f"{columns} has 1 missing value (in {self.unit} {place}): fill or drop it"
        has = "has" if len(self.gaps) == 1 else "have"
        return (
            f"{columns} {has} {total:,} missing values (the first in {self.unit} {place}): "
            "fill or drop them"
        )

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
        """How messages call column i: by its name, else by its number from 1."""
        return _short(self.names[i]) if self.names and self.names[i] else str(i + 1)


def beyond(integer: object, where: str = "") -> str:
    """What to say of an integer that float64 does not hold."""
    return (
        f"integers beyond 2^53 ({str(integer)[:40]}{where}), which floating-point numbers do not "
        "tell apart: subtract an offset or"
    )


def check_index(names: Sequence[str], values: NDArray[np.float64]) -> None:
    """Raise ValueError where the first column has no name, or one of an index, and counts rows."""
    unnamed = names and re.fullmatch(r"|Unnamed: \d+|__index_level_\d+__", names[0])
    if unnamed and (values[:, 0] == np.arange(len(values))).all():
        raise ValueError(
            "column 1 has no name and numbers the rows: leave it out (pandas: to_csv(index=False))"
        )


def _first(faults: Mapping[int, _Fault]) -> _Fault:
    return min(faults.values(), key=lambda fault: fault.place)


def _short(value: Any) -> str:
    """A value as Python writes it, which shows every control character; cut where it is long."""
    text = repr(value[:200] if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:56] + "..." + text[-1]
