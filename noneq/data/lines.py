"""Reading of tables of text: fields separated by tabs, semicolons, commas or spaces.

The first line is a header (names of columns) if one of its fields is text. There is one exception:
if it also holds numbers, and the second line has text in the same fields, both are rows of a table
that contains text, which is an error. Lines that start with # are comments. What could be read in
two ways (a header of years, a decimal comma) is an error, too.

pyarrow splits the lines and converts the numbers, some megabytes at a time; pyarrow's own reader
of whole files has neither comments nor columns separated by spaces, and needs 9 kB for each
column.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from noneq.data.columns import EXACT, Faults, Table, check_index
from noneq.data.files import check_memory

__all__ = ["text"]

BLOCK = 2**21  # characters at a time
LONGEST = 2**24  # characters of a line
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")
_NUMBER = r"(?i)^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$|^[+-]?(inf|infinity|nan)$"
_COMMA = re.compile(r"\s*[+-]?\d+,0\d+\s*")  # 1,05 and 3,007: no integer begins with 0


class _Lines(NamedTuple):
    """Holds lines of a file and their numbers, counted from 1."""

    numbers: Sequence[int]
    texts: list[str]


def text(path: Path) -> Table:
    """Read a text file of numbers separated by tabs, semicolons, commas or spaces.

    Arguments:
        path: the file, in UTF-8.

    Returns:
        The columns, float64 (M, D), with their D names if the file has a header, else with none.

    Raises:
        ValueError: if the file has no rows, lines of different lengths, text or missing values;
            the message names the columns and the first line concerned.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            return _table(_kept(_blocks(file)))
    except UnicodeDecodeError as error:
        raise ValueError("not text in UTF-8: save it with that encoding") from error


def _table(blocks: Iterator[_Lines]) -> Table:
    lines = next(blocks, None)
    if lines is None:
        raise ValueError("the file holds no rows")
    while len(lines.texts) < 2 and (more := next(blocks, None)):
        lines = _Lines([*lines.numbers, *more.numbers], lines.texts + more.texts)
    separator = _separator(lines.texts)
    first, used = _record(lines.texts, separator)
    second, _ = _record(lines.texts[used:], separator)
    names, above = [], lines.numbers[0]
    if _is_header(first, second):
        if not second:
            raise ValueError("a header, and no rows below it")
        one = separator is None and len(second) == 1
        names = [" ".join(first)] if one else first  # one column, whose name has spaces
        lines = _Lines(lines.numbers[used:], lines.texts[used:])
    faults, parts = Faults("line", names), []
    width = len(names or first)
    for block in chain([lines], blocks):
        if not names and width == 2 and separator == ",":
            _refuse_commas(block)
        fields = _split(block, separator)
        _check_widths(fields, block, width, f"line {above} {'names' if names else 'has'}")
        values = _numbers(fields.flatten(), block, width, faults)
        if not faults:
            parts.append(values)
        check_memory(sum(map(len, parts)), 8)
    if faults:
        raise ValueError(str(faults))
    values = np.concatenate(parts).reshape(-1, width)
    _check_names(names, first, values, above)
    return Table(values, tuple(name or str(i + 1) for i, name in enumerate(names)))


# -- lines
def _blocks(file: IO[str]) -> Iterator[_Lines]:
    """Yield all lines of a file, some megabytes at a time."""
    number, rest = 1, ""
    while chunk := file.read(BLOCK):
        texts = (rest + chunk).split("\n")
        rest = texts.pop()
        if len(rest) > LONGEST or (texts and len(texts[0]) > LONGEST):
            raise ValueError(
                f"line {number + len(texts)} is longer than {LONGEST:,} characters: a table has a "
                "line for each row; save wider rows as .npy"
            )
        yield _Lines(range(number, number + len(texts)), texts)
        number += len(texts)
    yield _Lines([number], [rest])


def _kept(blocks: Iterator[_Lines]) -> Iterator[_Lines]:
    """Yield the lines that are neither blank nor comments."""
    for numbers, texts in blocks:
        starts = [text.lstrip()[:1] for text in texts]
        keep = [i for i, start in enumerate(starts) if start and start != "#"]
        if len(keep) == len(texts):
            yield _Lines(numbers, texts)
        elif keep:
            yield _Lines([numbers[i] for i in keep], [texts[i] for i in keep])


def _separator(texts: Sequence[str]) -> str | None:
    """Find the separator of the first row, which may span lines in quotes; None: spaces."""
    plain = re.sub('"[^"]*"', "", "\n".join(texts[:20])).partition("\n")[0]
    return next((mark for mark in "\t;," if mark in plain), None)


def _record(texts: Sequence[str], separator: str | None) -> tuple[list[str], int]:
    """Return the fields of the first row, and the number of lines it spans."""
    if not texts:
        return [], 0
    if separator is None:
        return [word.strip('"') for word in texts[0].split()], 1
    reader = csv.reader(
        (f"{text}\n" for text in texts), delimiter=separator, skipinitialspace=True
    )
    fields = next(reader)
    return [word.strip() for word in fields], reader.line_num


def _split(lines: _Lines, separator: str | None) -> Any:
    """Split every line into its fields: an Arrow array of lists of strings."""
    if separator is None:
        words = pc.utf8_split_whitespace(
            pc.utf8_trim_whitespace(pa.array(lines.texts, pa.string()))
        )
        return pa.ListArray.from_arrays(words.offsets, pc.utf8_trim(words.flatten(), '"'))
    if any('"' in line for line in lines.texts):
        rows = csv.reader(lines.texts, delimiter=separator, skipinitialspace=True)
        return pa.array(list(rows), pa.list_(pa.string()))
    return pc.split_pattern(pa.array(lines.texts, pa.string()), separator)


def _check_widths(fields: Any, lines: _Lines, width: int, above: str) -> None:
    widths = fields.value_lengths().to_numpy()
    other = np.flatnonzero(widths != width)
    if len(other):
        found, line = int(widths[other[0]]), lines.numbers[int(other[0])]
        raise ValueError(
            f"{above} {width} columns, line {line} has {found}: "
            "every line needs as many, and text with the separator in it quotes"
        )


# -- numbers
def _numbers(words: Any, lines: _Lines, width: int, faults: Faults) -> NDArray[np.float64]:
    """Convert fields (M D,) to numbers, and record in ``faults`` what is wrong with them."""
    words = pc.utf8_trim_whitespace(words)
    try:
        values: NDArray[np.float64] = pc.cast(words, pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        values = np.full(len(words), np.nan)
    if np.isnan(values).any():
        gaps = pc.is_in(pc.utf8_lower(words), pa.array(MISSING)).to_numpy(zero_copy_only=False)
        numbers = pc.match_substring_regex(words, _NUMBER).to_numpy(zero_copy_only=False)
        _note(faults, "words", ~(numbers | gaps), words, lines, width)
        _note(faults, "gaps", gaps, words, lines, width)
    large = np.abs(values) >= EXACT
    if large.any():
        for i in np.flatnonzero(large):
            large[i] = not _is_held(words[int(i)].as_py(), float(values[i]))
        _note(faults, "integers", large, words, lines, width)
    return values


def _note(
    faults: Faults, kind: str, flags: NDArray[Any], words: Any, lines: _Lines, width: int
) -> None:
    """Record the flagged fields as faults of their columns."""
    places = np.flatnonzero(flags)
    columns, first, times = np.unique(places % width, return_index=True, return_counts=True)
    for column, place, many in zip(columns, places[first], times, strict=True):
        word = words[int(place)].as_py()
        faults.note(kind, int(column), lines.numbers[int(place) // width], word, int(many))


def _is_held(word: str, value: float) -> bool:
    """Tell whether float64 holds an integer exactly; of other numbers, always true."""
    if not re.fullmatch(r"[+-]?\d+", word):
        return True
    return np.isfinite(value) and int(word[:400]) == int(value)


# -- headers
def _is_number(word: str) -> bool:
    return bool(re.match(_NUMBER, word))


def _is_text(word: str) -> bool:
    return not _is_number(word) and word.lower() not in MISSING


def _is_header(first: Sequence[str], second: Sequence[str] = ()) -> bool:
    words = {i for i, word in enumerate(first) if _is_text(word)}
    below = {i for i, word in enumerate(second) if _is_text(word)}
    if not words and second:  # an unnamed column of row numbers beside columns called 0, 1, ...
        return len(first) > 1 and [i for i, w in enumerate(first) if not w] == [0] and all(second)
    return bool(words) and not (words <= below and any(map(_is_number, first)))


def _check_names(
    names: Sequence[str], first: Sequence[str], values: NDArray[np.float64], line: int
) -> None:
    """Refuse a column that numbers the rows, and names that are numbers."""
    check_index(names, values)
    if not names and _count_up(first, values):
        shown = ", ".join(first[:4]) + (", ..." if len(first) > 4 else "")
        raise ValueError(
            f"line {line} ({shown}) looks like names of columns, all numbers: put a letter in "
            f"each (c{first[0]}); or, if it is a row, a line of names above it"
        )


def _count_up(first: Sequence[str], values: NDArray[np.float64]) -> bool:
    """Tell whether the first line looks like names that count up (0, 1, 2 or years)."""
    width = len(first)
    if width < 2 or len(values) < 2 or not all(word.isdecimal() for word in first):
        return False
    steps, below = np.diff(values[0]), values[1:]
    if steps[0] <= 0 or (steps != steps[0]).any() or (np.diff(below[0]) == steps).all():
        return False
    if values[0, 0] >= 1000 and values[0, -1] < 3000:
        return width > 2 or bool(steps[0] == 1)
    real = (below != np.round(below)).any(0).all()
    return bool(steps[0] == 1 and values[0, 0] <= 1 and (real or width > 3))


def _refuse_commas(lines: _Lines) -> None:
    """Refuse two columns that look like one column of numbers with decimal commas."""
    for number, line in zip(*lines, strict=True):
        if _COMMA.fullmatch(line):
            raise ValueError(
                f"line {number} ({line.strip()[:40]}) looks like one number with a decimal comma: "
                "write decimal points; or, if there are two columns, name them in a first line"
            )
