"""Reading of tables of text: fields separated by tabs, semicolons, commas or spaces.

The first line is a header (names of columns) if one of its fields is text. There is one exception:
if it also holds numbers, and the second line has text in the same fields, both are rows of a table
that contains text, which is an error. Lines that start with # are comments. What could be read in
two ways (a header of years, a decimal comma) is an error, too.

pyarrow splits the lines and converts the numbers, some megabytes at a time; its reader of whole
files has neither comments nor columns separated by spaces, and needs 9 kB for each column.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from noneq.data.columns import EXACT, Faults, Table, check_index
from noneq.data.files import check_memory
from noneq.data.headers import MISSING, NUMBER, check_names, is_header
from noneq.data.words import Collector, Words

__all__ = ["text", "texts_of"]

BLOCK = 2**21  # characters at a time
LONGEST = 2**24  # characters of a line
_COMMA = re.compile(r"\s*[+-]?\d+,0\d+\s*")  # 1,05 and 3,007: no integer begins with 0


class _Lines(NamedTuple):
    """Holds lines of a file and their numbers, counted from 1."""

    numbers: Sequence[int]
    texts: list[str]


class _Layout(NamedTuple):
    """Holds how the lines of a file are made: names and first row, and their line; separator."""

    names: list[str]
    first: list[str]
    above: int
    separator: str | None

    def fields(self, block: _Lines) -> tuple[Any, Sequence[int]]:
        """Split lines into fields, an Arrow array of strings; and tell where rows begin."""
        width = len(self.first)
        if not self.names and width == 2 and self.separator == ",":
            _refuse_commas(block)
        fields, numbers = _split(block, self.separator)
        called = f"line {self.above} {'names' if self.names else 'has'}"
        _check_widths(fields, numbers, width, called)
        return pc.utf8_trim_whitespace(fields.flatten()), numbers


def text(path: Path, *, loose: bool = False) -> Table:
    """Read a text file of numbers separated by tabs, semicolons, commas or spaces.

    Arguments:
        path: the file, in UTF-8.
        loose: whether columns of text, and missing values, are accepted.

    Returns:
        The columns, float64 (M, D), with their D names if the file has a header, else with none;
        with ``loose`` also their texts, and what is wrong with them as numbers.

    Raises:
        ValueError: if the file has no rows, or lines of different lengths; without ``loose`` also
            if it has text or missing values: the message names the columns and the first line
            concerned.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            table = _table(*_opened(_kept(_blocks(file))), loose=loose)
        if not loose or not table.faults or not table.faults.words:
            return table
        with path.open(encoding="utf-8-sig") as file:
            return table._replace(words=_words(*_opened(_kept(_blocks(file))), table.faults.words))
    except UnicodeDecodeError as error:
        raise ValueError("not text in UTF-8: save it with that encoding") from error


def texts_of(
    path: Path, choose: Callable[[Sequence[str], int], Sequence[int]]
) -> tuple[NDArray[np.int64], list[list[str]]]:
    """Read some columns of a text file as texts, and find the line in which each row begins.

    Arguments:
        path: the file, which `text` has read.
        choose: function of the names of the columns, empty if they have none, and of the number
            of columns, which returns the positions of those to read, from 0.

    Returns:
        The number of the line of each row (M,), from 1, and the M texts of each column chosen.
    """
    with path.open(encoding="utf-8-sig") as file:
        layout, blocks = _opened(_kept(_blocks(file)))
        width = len(layout.first)
        chosen = choose(layout.names, width)
        numbers, texts = [], [list[str]() for _ in chosen]
        for block in blocks:
            fields, begins = layout.fields(block)
            numbers.append(np.array(begins, dtype=np.int64))
            for own, j in zip(texts, chosen, strict=True):
                own += fields.take(pa.array(np.arange(j, len(fields), width))).to_pylist()
    return np.concatenate(numbers), texts


def _opened(blocks: Iterator[_Lines]) -> tuple[_Layout, Iterator[_Lines]]:
    """Find the layout of a file, and return it with the lines below the header."""
    lines = next(blocks, None)
    if lines is None:
        raise ValueError("the file holds no rows")
    while len(lines.texts) < 2 and (more := next(blocks, None)):
        lines = _Lines([*lines.numbers, *more.numbers], lines.texts + more.texts)
    separator = _separator(lines.texts)
    first, used = _record(lines.texts, separator)
    second, _ = _record(lines.texts[used:], separator)
    names, above = [], lines.numbers[0]
    if is_header(first, second):
        if not second:
            raise ValueError("a header, and no rows below it")
        one = separator is None and len(second) == 1
        names = [" ".join(first)] if one else first  # one column, whose name has spaces
        lines = _Lines(lines.numbers[used:], lines.texts[used:])
    first = names or first
    return _Layout(names, first, above, separator), chain([lines], blocks)


def _table(layout: _Layout, blocks: Iterator[_Lines], *, loose: bool) -> Table:
    names, width = layout.names, len(layout.first)
    faults, parts = Faults("line", names), []
    for block in blocks:
        values = _numbers(*layout.fields(block), width, faults)
        if loose or not faults:
            parts.append(values)
        check_memory(sum(map(len, parts)), 8)
    if faults and not loose:
        raise ValueError(str(faults))
    values = np.concatenate(parts).reshape(-1, width)
    if not loose:
        check_index(names, values)
    check_names(names, layout.first, values, layout.above)
    columns = tuple(name or str(i + 1) for i, name in enumerate(names))
    return Table(values, columns, faults or None)


def _words(layout: _Layout, blocks: Iterator[_Lines], columns: Iterable[int]) -> dict[int, Words]:
    """Collect the texts of some columns."""
    width = len(layout.first)
    found = {j: Collector() for j in columns}
    for block in blocks:
        fields, _ = layout.fields(block)
        for j, collector in found.items():
            words = fields.take(pa.array(np.arange(j, len(fields), width)))
            gaps = pc.is_in(pc.utf8_lower(words), pa.array(MISSING))
            words = pc.if_else(gaps, pa.scalar(None, pa.string()), words)
            numbers = pc.sum(pc.match_substring_regex(words, NUMBER)).as_py()
            collector.add(words, numbers or 0)
    return {j: collector.words() for j, collector in found.items()}


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
        if not any(start.isspace() or start in ("", "#") for start in {t[:1] for t in texts}):
            yield _Lines(numbers, texts)
            continue
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


def _split(lines: _Lines, separator: str | None) -> tuple[Any, Sequence[int]]:
    """Split rows into fields, an Arrow array of lists of strings, and tell where rows begin."""
    if separator is None:
        words = pc.utf8_split_whitespace(
            pc.utf8_trim_whitespace(pa.array(lines.texts, pa.string()))
        )
        words = pa.ListArray.from_arrays(words.offsets, pc.utf8_trim(words.flatten(), '"'))
        return words, lines.numbers
    if '"' in "".join(lines.texts):
        reader = csv.reader(lines.texts, delimiter=separator, skipinitialspace=True)
        rows, ends = [], [0]  # a row with a line break in quotes has several lines
        for row in reader:
            rows.append(row)
            ends.append(reader.line_num)
        return pa.array(rows, pa.list_(pa.string())), [lines.numbers[i] for i in ends[:-1]]
    return pc.split_pattern(pa.array(lines.texts, pa.string()), separator), lines.numbers


def _check_widths(fields: Any, numbers: Sequence[int], width: int, above: str) -> None:
    widths = fields.value_lengths().to_numpy()
    other = np.flatnonzero(widths != width)
    if len(other):
        found, line = int(widths[other[0]]), numbers[int(other[0])]
        raise ValueError(
            f"{above} {width} columns, line {line} has {found}: "
            "every line needs as many, and text with the separator in it quotes"
        )


# -- numbers
def _numbers(words: Any, begins: Sequence[int], width: int, faults: Faults) -> NDArray[np.float64]:
    """Convert fields (M D,) to numbers, and record in ``faults`` what is wrong with them."""
    try:
        values: NDArray[np.float64] = pc.cast(words, pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        numbers = pc.match_substring_regex(words, NUMBER).to_numpy(zero_copy_only=False)
        values = np.full(len(words), np.nan)
        values[numbers] = [float(word) for word in words.filter(pa.array(numbers)).to_pylist()]
    if np.isnan(values).any():
        gaps = pc.is_in(pc.utf8_lower(words), pa.array(MISSING)).to_numpy(zero_copy_only=False)
        numbers = pc.match_substring_regex(words, NUMBER).to_numpy(zero_copy_only=False)
        _note(faults, "words", ~(numbers | gaps), words, begins, width)
        _note(faults, "gaps", gaps, words, begins, width)
    large = np.abs(values) >= EXACT
    if large.any():
        for i in np.flatnonzero(large):
            large[i] = not _is_held(words[int(i)].as_py(), float(values[i]))
        _note(faults, "integers", large, words, begins, width)
    return values


def _note(
    faults: Faults, kind: str, flags: NDArray[Any], words: Any, begins: Sequence[int], width: int
) -> None:
    """Record the flagged fields as faults of their columns."""
    places = np.flatnonzero(flags)
    columns, first, times = np.unique(places % width, return_index=True, return_counts=True)
    for column, place, many in zip(columns, places[first], times, strict=True):
        word = words[int(place)].as_py()
        faults.note(kind, int(column), begins[int(place) // width], word, int(many))


def _is_held(word: str, value: float) -> bool:
    """Tell whether float64 holds an integer exactly; of other numbers, always true."""
    if not re.fullmatch(r"[+-]?\d+", word):
        return True
    return np.isfinite(value) and int(word[:400]) == int(value)


def _refuse_commas(lines: _Lines) -> None:
    """Refuse two columns that look like one column of numbers with decimal commas."""
    for number, line in zip(*lines, strict=True):
        if _COMMA.fullmatch(line):
            raise ValueError(
                f"line {number} ({line.strip()[:40]}) looks like one number with a decimal comma: "
                "write decimal points; or, if there are two columns, name them in a first line"
            )
