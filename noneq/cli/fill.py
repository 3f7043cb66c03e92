"""``noneq sample --given``: fill in the missing values of a file by samples of a run's model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow
import torch
from numpy.typing import NDArray
from torch import Tensor

from noneq.cli.console import echo, tracked
from noneq.cli.results import keep_result
from noneq.cli.sample import check_table, names, tell_outside, tell_texts, with_texts
from noneq.cli.values import names as names_of
from noneq.data.gaps import rows_with_gaps
from noneq.data.plaintext import visible
from noneq.run import Run
from noneq.run.atomic import save_arrays, save_table
from noneq.run.filling import Filled, fill
from noneq.run.in_range import check_ranges, outside_range

__all__ = ["fill_file"]

SPARE = 64  # samples of each row, at least, from which those within range are taken
DRAWS = 4096  # of values that repeat, from their intervals


def fill_file(
    run: Path,
    given: Path | None,
    out: Path,
    count: int | None,
    *,
    others: bool,
    within_range: bool,
    seed: int,
    device: str,
) -> None:
    """Fill in the missing values of a file, as ``noneq sample --given`` does, and write all rows.

    Arguments:
        run: folder of the training run whose model is sampled.
        given: file of rows as ``noneq train`` reads them, with blank cells (in .npy: NaN) where
            values are missing; or values of one row as text, ``column=value``, by commas.
        out: file to write, .csv or .npy: all rows in order, the samples of a row side by side.
        count: number of samples of each row; None: 1.
        others: whether options of other samples were given, too, which is an error.
        within_range: whether to leave out samples with a value outside the range of its column
            in the training rows, where a row has others.
        seed: seed of all randomness.
        device: torch device; empty: the device of the run.

    Raises:
        FileNotFoundError: the file of rows does not exist.
        ValueError: the rows do not fit the model, or the model's conditionals are not known at the
            start of annealing.
    """
    if given is None:
        raise ValueError("--count is the number of samples of each row of --given FILE; else -n")
    if others:
        raise ValueError(
            "--given takes no options but --count, --out, --within-range, --seed and --device"
        )
    count = 1 if count is None else count
    if out.suffix not in (".csv", ".npy"):
        raise ValueError(f"{out}: rows of --given go to .csv or .npy: name one (`out` full.csv)")
    opened = Run(run, device)
    if opened.scaling.labels is not None:
        raise ValueError(f"{run}: is a model of images given their labels: draw some by `labels`")
    if out.suffix == ".csv":
        check_table(out, opened)
    values, x = _rows(given, opened, seed)
    if within_range:
        check_ranges(opened)
    many = max(SPARE, 2 * count) if within_range else count
    filled = fill(opened, x, many, draws=len(x) // len(values), seed=seed, track=tracked)
    if within_range:
        filled = filled._replace(x=_inside(opened, filled.x, np.isnan(values), count))
    rows = opened.scaling.undo(filled.x.flatten(0, 1).cpu()).numpy()
    repeated = np.repeat(values, count, 0)
    rows = np.where(np.isnan(repeated), rows, repeated)
    if out.suffix == ".csv":
        save_table(out, names(opened), with_texts(opened, rows))
    else:
        save_arrays(out, {"x": rows})
    _tell(out, opened, filled, values, count)
    own = np.where(np.isnan(repeated), rows, np.nan)
    advice = "none of their draws was within" if within_range else "--within-range draws no such"
    tell_outside(opened, own, what="filled rows", advice=f"; {advice}")
    tell_outside(opened, values, what="given rows", advice="")


def _inside(run: Run, x: Tensor, missing: NDArray[np.bool_], count: int) -> Tensor:
    """Choose samples of each row (R, many, D) whose filled values are all within their range.

    Where they are too few, they are repeated; where there is none, others are taken.
    """
    out = (
        outside_range(run, x.flatten(0, 1)).view(x.shape).cpu()
        & torch.from_numpy(missing)[:, None]
    )
    beyond = out.any(2)  # (R, many)
    order = beyond.long().argsort(dim=1, stable=True)  # those inside first, in their order
    inside = (~beyond).sum(1, keepdim=True)
    first, rows = (torch.arange(n, device="cpu") for n in (count, len(x)))
    at = torch.where(inside > 0, first % inside.clamp(min=1), first)
    return x[rows[:, None].to(x.device), order.gather(1, at).to(x.device)]


def _rows(given: Path, run: Run, seed: int) -> tuple[NDArray[np.float64], Tensor]:
    """Read rows with blank cells: those of a file, or one that is written as ``column=value``."""
    columns = run.config["data"]["columns"]
    how = {"columns": columns, "seed": seed, "draws": DRAWS}
    if given.exists():
        return rows_with_gaps(given, run.shape, run.scaling, **how)
    if "=" not in str(given):
        raise FileNotFoundError(f"{given}: no such file (a file of rows is meant)")
    pairs = _pairs(str(given), run)
    one = pyarrow.table({name: [_value(pairs.get(name, ""))] for name in columns})
    return rows_with_gaps(one, run.shape, run.scaling, name=f"--given {given}", **how)


def _pairs(given: str, run: Run) -> dict[str, str]:
    """Read the values of one row, ``column=value`` by commas, one with a comma in quotes."""
    columns, pairs = run.config["data"]["columns"], {}
    left_out = dict(map(tuple, run.config["data"]["left_out"]))
    own = ", ".join(map(visible, columns))
    for part in names_of(given):
        name, equals, value = part.partition("=")
        name = name.strip()
        if name in pairs:
            raise ValueError(f"--given {given}: {visible(name)} has two values: give one")
        if name in left_out:
            raise ValueError(
                f"--given {given}: the model does not have the column {visible(name)} "
                f"({left_out[name]}), but {own}"
            )
        if not equals or name not in columns:
            raise ValueError(
                f"--given {given}: {visible(name)}: no such column; write column=value, one or "
                f"more separated by commas, with columns of the run: {own}"
            )
        pairs[name] = value.strip()
    return pairs


def _value(text: str) -> float | str | None:
    """Return a number, a text, or None for an empty text."""
    try:
        return float(text)
    except ValueError:
        return text or None


def _tell(out: Path, run: Run, filled: Filled, values: NDArray[np.float64], count: int) -> None:
    """Print what was written, and how good the samples are."""
    gaps = int(np.isnan(values).sum())
    keep_result(out=str(out), rows=len(values), samples=count, missing=gaps)
    many = f", {count} samples of each" if count > 1 else ""
    echo(f"{out}: {len(values)} rows{many}; {gaps} values were missing")
    if count > 1:
        echo(f"  the {count} samples of a row follow each other")
    if left := [visible(name) for name, _ in map(tuple, run.config["data"]["left_out"])]:
        echo(f"  without the columns that the model does not have: {', '.join(left)}")
    if out.suffix == ".npy":
        tell_texts(run, out)
    if filled.found is not None:
        ess, ancestors = filled.found.ess, filled.found.effective_ancestors
        echo(
            f"  the weighted walkers of a row are worth {float(ess.median()):.0%} as many of "
            f"equal weight (ESS; least {float(ess.min()):.0%}), and stem from "
            f"{float(ancestors.median()):.0%} of their starts (least {float(ancestors.min()):.0%})"
        )
    if noise := run.recipe.train.noise:
        echo(f"  what was filled in has the noise {noise:g} that the model was trained with")
