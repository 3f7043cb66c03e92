"""What ``noneq score`` says and writes of single rows: where they are, how unusual they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size

from noneq.cli.console import echo
from noneq.cli.results import keep_result
from noneq.data.kinds import Column
from noneq.data.origin import Origin
from noneq.data.plaintext import visible
from noneq.data.unusual import Places, Unusual, unusual_values
from noneq.run import Run
from noneq.run.ranks import Ranked

__all__ = ["arrays_of", "columns_of", "mixed", "tell_least_likely", "tell_unusual"]

SHOWN = 5  # columns with unusual values, and least likely rows
PERCENTILE = "training_percentile"
NAMES = ("log_density", "rank", PERCENTILE, "expected", "log_density_standardised")
IDENTIFIERS, WIDE = 2, 20  # identifiers of a row that are printed, and characters of each


def tell_unusual(run: Run, values: NDArray[Any], origin: Origin) -> None:
    """Print in which columns rows have values that no training row had, and keep them for --json.

    Arguments:
        run: run that the rows are scored by.
        values: the rows (M, *shape) in the file's units.
        origin: where they stand in their file.
    """
    cells, found = run.scaling.cells, list[Unusual]()
    if cells is not None and run.scaling.threshold is None:
        found = unusual_values(cells.columns, values)
    keep_result(unusual=[_plain(one, origin) for one in found])
    for one in found[:SHOWN]:
        echo(f"  {one.column.called}: {'; '.join(_said(one, origin))}")
    others = len(found) - SHOWN
    if others > 0:
        echo(f"  and {others} more column{'s' * (others > 1)}")


def _said(one: Unusual, origin: Origin) -> list[str]:
    """Say what is unusual in a column."""
    column, said = one.column, []
    if one.outside:
        least, most = _number(column.low), _number(column.high)
        where = _where(one.outside, origin)
        said.append(
            f"{_many(one.outside)} outside {least} to {most}, the range of the training rows "
            f"({where})"
        )
    if one.off_grid:
        times, where = one.off_grid.times, _where(one.off_grid, origin)
        if column.step == 1 and column.whole:
            what = "is not a whole number" if times == 1 else "are not whole numbers"
        else:
            be = "is" if times == 1 else "are"
            what = f"{be} not in steps of {_number(column.step)} from {_number(column.offset)}"
        said.append(f"{_many(one.off_grid)} {what} ({where}), {_scored(column)}")
    return said


def _scored(column: Column) -> str:
    """Say how a value off the grid of a column is scored, as `noneq.data.cells` spreads it."""
    width = _number(column.step)
    if column.counted:
        return f"scored as an interval of width {width} around it, across two cells"
    return f"scored as a mean over an interval of width {width} around it"


def _many(places: Places) -> str:
    return "1 value" if places.times == 1 else f"{places.times:,} values"


def _where(places: Places, origin: Origin) -> str:
    """Tell the first value, and where it is."""
    place = f"{_number(places.value)}, in {origin.unit} {origin.numbers[places.row]}"
    return place if places.times == 1 else f"the first, {place}"


def _number(value: float | None) -> str:
    return f"{value:.10g}"


def _plain(one: Unusual, origin: Origin) -> dict[str, Any]:
    """Convert what is unusual in a column for a JSON file."""
    column = one.column
    found: dict[str, Any] = {"column": column.name or column.number}
    for name, places in (("outside", one.outside), ("off_grid", one.off_grid)):
        if places is not None:
            number = int(origin.numbers[places.row])
            found[name] = {"values": places.times, "first": places.value, origin.unit: number}
    if one.outside:
        found["range"] = [column.low, column.high]
    if one.off_grid:
        found["grid"] = {"step": column.step, "offset": column.offset}
    return found


def tell_least_likely(run: Run, ranked: Ranked, origin: Origin) -> None:
    """Print the least likely rows of a file, and keep them for --json.

    Arguments:
        run: run that the rows are scored by.
        ranked: log-densities of the rows, and how unusual they are.
        origin: where the rows stand in their file.
    """
    least = np.argsort(ranked.log_density, kind="stable")[:SHOWN].tolist()
    columns = columns_of(origin, ranked)
    keep_result(least_likely=[{k: _item(own[i]) for k, own in columns.items()} for i in least])
    if ranked.percentile is None:
        source = visible(str(run.config["data"]["source"]))
        echo(f"  no {PERCENTILE}: the data of the run, {source}, {ranked.why}")
    names = list(origin.identifiers)[:IDENTIFIERS]
    rows = [[origin.unit, *map(visible, names), "log-density"]]
    for i in least:
        own = [visible(origin.identifiers[name][i]) for name in names]
        rows.append([str(origin.numbers[i]), *own, f"{ranked.log_density[i]:.2f}"])
    many = f"the {len(least)} least likely rows" if len(least) > 1 else "the least likely row"
    if ranked.percentile is not None:
        many += f"; percentile among {ranked.compared:,} training rows, 0: below all"
        rows[0].append("percentile")
        for row, i in zip(rows[1:], least, strict=True):
            row.append(f"{ranked.percentile[i]:.2f}")
    echo(f"  {many}")
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        texts = [set_cell_size(text, min(WIDE, w)) for text, w in zip(row, widths, strict=True)]
        cells = (text if 1 <= k <= len(names) else text.rstrip().rjust(widths[k])
                 for k, text in enumerate(texts))  # fmt: skip
        echo("    " + "  ".join(cells))


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def columns_of(origin: Origin, ranked: Ranked) -> dict[str, Any]:
    """Return the columns of a table of scores that every table has, in their order.

    Arguments:
        origin: where the M rows stand in their file.
        ranked: their log-densities, and how unusual they are.

    Returns:
        Sequences of M numbers or texts: the line or row, the identifiers, ``log_density``,
        ``rank`` and ``training_percentile``, if it is known. An identifier with the name of
        another column is called e.g. ``rank_in_file``.
    """
    own = arrays_of(origin, ranked)
    place: dict[str, Any] = {origin.unit: own.pop(origin.unit)}
    taken = {*NAMES, origin.unit}
    named = {f"{k}_in_file" if k in taken else k: v for k, v in origin.identifiers.items()}
    return {**place, **named, **own}


def arrays_of(origin: Origin, ranked: Ranked) -> dict[str, NDArray[Any]]:
    """Return the columns of `columns_of` that are numbers.

    Arguments:
        origin: where the M rows stand in their file.
        ranked: their log-densities, and how unusual they are.

    Returns:
        Arrays of M numbers.
    """
    found: dict[str, NDArray[Any]] = {origin.unit: origin.numbers}
    found |= {"log_density": ranked.log_density, "rank": ranked.rank}
    return found if ranked.percentile is None else {**found, PERCENTILE: ranked.percentile}


def mixed(columns: Sequence[Sequence[Any] | NDArray[Any]]) -> NDArray[Any]:
    """Put columns of numbers and of texts beside each other.

    Arguments:
        columns: D columns of M values each.

    Returns:
        An array (M, D) of objects, for `noneq.run.atomic.save_table`.
    """
    table = np.empty((len(columns[0]), len(columns)), object)
    for k, column in enumerate(columns):
        table[:, k] = column
    return table
