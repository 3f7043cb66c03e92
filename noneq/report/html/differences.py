"""What runs differ in where their likelihoods do not compare, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noneq.data.plaintext import visible
from noneq.data.sentences import described, listed
from noneq.run import Run

__all__ = ["check_comparable"]

COLUMNS = (
    "train one of them again with the same columns (`columns`, `drop`, `categories`, "
    "`continuous`, `grid`)"
)
MOST = 8  # columns that are told apart in a message


def check_comparable(runs: Sequence[Run]) -> None:
    """Raise an error unless the likelihoods of runs are of the same quantity of the same rows.

    Arguments:
        runs: runs that are to be compared.

    Raises:
        FileNotFoundError: log Z of a run has not been estimated.
        ValueError: there is one run only, a run is given twice, or two runs differ in their rows,
            their columns, how they take them, or their noise: what differs is named.
    """
    if len(runs) < 2:
        raise ValueError("a comparison takes two runs or more")
    first, places = runs[0], [run.folder.resolve() for run in runs]
    for k, run in enumerate(runs):
        if (before := places.index(places[k])) < k:
            raise ValueError(
                f"{runs[before].folder} and {run.folder} are the same run: a comparison takes "
                "different ones"
                if runs[before].folder != run.folder
                else f"{run.folder}: is given twice: a comparison takes different runs"
            )
    for run in runs[1:]:
        if found := _differences(first, run):
            both = f"{_named(first)} and {_named(run)}"
            raise ValueError(f"the likelihoods of {both} do not compare: {found}")
    for run in runs:
        if not run.bracketed:
            raise FileNotFoundError(
                f"{run.folder}: log Z is not known yet; `evaluate_run({run.folder})` brackets it"
            )


def _named(run: Run) -> str:
    return visible(str(run.folder))


def _differences(first: Run, run: Run) -> str:
    """Say what makes the likelihoods of two runs those of other quantities; empty: nothing."""
    a, b = _named(first), _named(run)
    noise = [one.recipe.train.noise for one in (first, run)]
    if found := _kinds(first, run):
        return found
    if said := [*_columns(first, run), *_rows(first, run)]:
        return "; ".join(said)
    if _quantity(first) != _quantity(run):
        return (
            "they take the values of their columns for other kinds, or standardise them in "
            "another way"
        )
    if noise[0] != noise[1]:
        return (
            f"{a} was trained with noise {noise[0]:g}, and {b} with noise {noise[1]:g}: these are "
            "densities of other quantities"
        )
    return ""


def _kinds(first: Run, run: Run) -> str:
    """Say how two runs differ if one is of a table, or of images of another size or of labels."""
    kinds, labels = [], []
    for one in (first, run):
        about, own = one.config["data"], one.scaling.labels
        size = " x ".join(map(str, about["shape"] if own is None else own.shape))
        kinds.append("a table" if about["kind"] == "table" else f"images of {size}")
        labels.append("alone" if own is None else "given their labels")
    a, b = _named(first), _named(run)
    if kinds[0] != kinds[1]:
        return f"{a} is of {kinds[0]}, {b} of {kinds[1]}"
    if labels[0] != labels[1]:
        return f"{a} has likelihoods of images {labels[0]}, {b} of images {labels[1]}"
    return ""


# -- columns
def _columns(first: Run, run: Run) -> list[str]:
    """Say which columns only one of two runs has, and which both take for other values."""
    mine, other = _taken(first), _taken(run)
    a, b, said = _named(first), _named(run), []
    for lacking, of, there in ((b, mine, other), (a, other, mine)):
        names = [name for name in of if name not in there]
        if names:
            many = "s" * (len(names) > 1)
            said.append(f"{lacking} has no column{many} {listed(names, MOST)}")
    for name in mine:
        if name in other and mine[name] != other[name]:
            one, two = _short(mine[name], other[name])
            said.append(f"{name}: {one} in {a}, {two} in {b}")
    if not said:
        return []
    more = len(said) - MOST
    return [*said[:MOST], *[f"{more} more differences"] * (more > 0), COLUMNS]


def _taken(run: Run) -> dict[str, str]:
    """Describe how a run takes the columns of its table, by their names."""
    about, cells, threshold = run.config["data"], run.scaling.cells, run.scaling.threshold
    names = [visible(name) for name in about["columns"]]
    if about["kind"] != "table":
        names = ["the pixels"]
    elif not names:
        names = [f"column {k + 1}" for k in range(about["shape"][0])]
    if threshold is not None:
        return dict.fromkeys(names, f"bits, 1 above {threshold:g}")
    if run.family.binary:
        return dict.fromkeys(names, "bits")
    if cells is None:
        return dict.fromkeys(names, "continuous")
    return {column.called: described(column) for column in cells.columns}


def _short(one: str, two: str) -> tuple[str, str]:
    """Shorten two descriptions to their kinds where those differ already."""
    a, b = (text.split(" (")[0].split(", step")[0] for text in (one, two))
    return (a, b) if a != b else (one, two)


# -- rows
def _rows(first: Run, run: Run) -> list[str]:
    """Say how the rows of two runs differ; nothing where the columns alone may do so."""
    one, two = first.config["data"], run.config["data"]
    a, b, said = _named(first), _named(run), []
    if one["rows"] != two["rows"]:
        counts = [" / ".join(f"{n:,}" for n in about["rows"]) for about in (one, two)]
        said.append(
            f"{a} has {counts[0]} rows (train / validation / test), {b} has {counts[1]}"
            + (
                f", since rows with missing values were left out: {one['gaps']:,} and "
                f"{two['gaps']:,}"
                if one["gaps"] != two["gaps"]
                else ""
            )
        )
    for name in ("classes", "subset", "binary"):
        if one[name] != two[name]:
            said.append(f"`{name}` is {_choice(one[name])} in {a}, {_choice(two[name])} in {b}")
    if one["digest"] == two["digest"] or said or _taken(first) != _taken(run):
        return said
    files = [visible(Path(about["source"]).name) for about in (one, two)]
    read = f"both read a file {files[0]}"
    if files[0] != files[1]:
        read = f"{a} read {files[0]}, {b} {files[1]}"
    return [
        f"they have as many rows, but with other values or split in another way ({read}): train "
        "both on one file, whose split depends on its rows alone"
    ]


def _choice(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "not given" if value is None else str(value)


def _quantity(run: Run) -> Any:
    """Return what the likelihood of a run is of, whatever the coordinates of its columns."""
    plain = run.scaling.plain()
    for column in plain["cells"] or ():
        for end in ("low", "high"):  # which runs of an earlier version lack
            column.pop(end, None)
    return [
        run.family.binary,
        *(plain[k] for k in ("shift", "scale", "threshold", "cells", "labels")),
    ]
