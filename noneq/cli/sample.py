"""``noneq sample``: draw samples of a run's model and write them to a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noneq.cli.console import echo, tracked
from noneq.cli.results import keep_result
from noneq.data.sentences import listed
from noneq.data.within import outside
from noneq.energies.denoising import denoised
from noneq.run import Run
from noneq.run.atomic import save_arrays, save_table
from noneq.run.memory import check_walkers
from noneq.run.samples import DrawnWalkers, draw_walkers, take_samples
from noneq.run.unfinished import unfinished

__all__ = ["check_table", "names", "sample", "tell_outside", "tell_texts", "with_texts"]

APART = 1_000_003  # between the seeds of two labels


def sample(
    run: Path,
    n: int,
    out: Path,
    labels: Sequence[int] | None = None,
    *,
    weighted: bool,
    denoise: bool,
    device: str,
    **how: Any,
) -> None:
    """Draw samples of a trained model and write the samples to a file, as ``noneq sample`` does.

    Arguments:
        run: folder of the training run whose model is sampled.
        n: number of samples.
        out: file to write: .npz, .npy for samples without weights, or .csv for a table.
        labels: labels of which n samples each are drawn, of a model that is conditional on labels;
            None: n samples with labels in the proportions of the training rows.
        weighted: whether to write walkers, i.e. weighted samples, with their log-weights;
            otherwise walkers are resampled to equal weights.
        denoise: whether to write the denoised means ``x - sigma^2 grad U`` of samples x, where
            sigma is the standard deviation of the noise in training.
        device: torch device; empty: the device of the run.
        **how: ``source`` (way to make samples, e.g. "ais"), ``steps``, ``moves``,
            ``within_range`` and ``seed``, as `noneq.run.samples.draw_walkers` takes them.

    Raises:
        ValueError: options contradict each other, or do not suit the run's model.
    """
    if labels and len({*labels}) < len(labels):
        raise ValueError(f"`labels` {','.join(map(str, labels))}: name every label once")
    opened = Run(run, device)
    _check(opened, out, weighted=weighted)
    if denoise and not opened.recipe.train.noise:
        raise ValueError(f"{run}: was trained without noise: there is nothing to remove")
    drawn: Sequence[int | None] = labels or (None,)
    check_walkers(f"-n {n}", n * len(drawn), opened.shape, opened.device)
    seed = how.pop("seed")
    every = [
        draw_walkers(
            opened, n, label=label, weighted=weighted, seed=seed + APART * i, track=tracked, **how
        )
        for i, label in enumerate(drawn)
    ]
    taken = [take_samples(one, n, weighted=weighted) for one in every]
    x, log_w = (torch.cat(parts) for parts in zip(*taken, strict=True))
    log_w = log_w - math.log(len(taken))  # labels count alike
    distinct = len(torch.unique(x.flatten(1), dim=0))
    if denoise:
        x = denoised(opened.model()[0], x, opened.recipe.train.noise)
    rows = _save(opened, out, x.cpu(), log_w.cpu() if weighted else None)
    _tell(opened, out, labels, every, weighted=weighted, shape=rows.shape, distinct=distinct)
    if how.get("within_range"):
        echo(
            f"  of the model within the range of every column's training rows, which has "
            f"{min(drawn.kept for drawn in every):.1%} of its mass"
        )
    elif not weighted:
        tell_outside(opened, rows)


def _save(run: Run, out: Path, x: Tensor, log_w: Tensor | None) -> np.ndarray[Any, Any]:
    """Write samples x in the model's units to a file, and return them in the data's units."""
    arrays = {"x": run.scaling.undo(x).numpy()}
    if run.scaling.labels is not None and out.suffix == ".npz":
        arrays["labels"] = run.scaling.labels.of(x).numpy()
    texts, own = _texts(run), names(run)
    if out.suffix == ".npz":
        arrays |= {f"categories_{own[j]}": np.array(words) for j, words in texts.items()}
    if log_w is not None:
        arrays["log_w"] = log_w.numpy()
    if out.suffix == ".csv":
        values = with_texts(run, arrays["x"])
        if log_w is not None:
            values = np.concatenate([values, arrays["log_w"][:, None].astype(object)], 1)
        save_table(out, own + ["log_w"] * (log_w is not None), values)
    else:
        save_arrays(out, arrays)
    return arrays["x"]


def _check(run: Run, out: Path, *, weighted: bool) -> None:
    """Raise ValueError unless a file can hold samples of a run."""
    if out.suffix not in (".npz", ".npy", ".csv"):
        raise ValueError(f"{out}: samples go to .npz (x, log_w), .npy (x) or .csv")
    if weighted and out.suffix == ".npy":
        raise ValueError(f"{out}: weights need an .npz or a .csv file")
    if out.suffix == ".csv":
        check_table(out, run)
    if out.suffix == ".npy" and run.scaling.labels is not None:
        raise ValueError(f"{out}: images and their labels need an .npz file")


def _tell(
    run: Run,
    out: Path,
    labels: Sequence[int] | None,
    every: Sequence[DrawnWalkers],
    *,
    weighted: bool,
    shape: tuple[int, ...],
    distinct: int,
) -> None:
    """Print what was written, and how good the samples are."""
    keep_result(
        out=str(out),
        samples=shape[0],
        distinct=distinct,
        weighted=weighted,
        walkers=sum(len(drawn.walkers) for drawn in every),
        ess=min(drawn.walkers.ess for drawn in every),
        effective_ancestors=min(drawn.walkers.effective_ancestors for drawn in every),
    )
    kind = "weighted walkers" if weighted else f"samples ({distinct} distinct)"
    echo(f"{out}: {shape[0]} {kind} of shape {shape[1:]}, in the data's units")
    if not run.bracketed and (state := unfinished(run)):
        echo(f"  of a training that is not at its end ({state.how}, {state.where})", "bold")
    if out.suffix != ".csv":
        tell_texts(run, out)
    for label, (walkers, *_) in zip(labels or ("",), every, strict=True):
        which = f"  label {label}: " if labels else "  "
        echo(
            f"{which}drawn from {len(walkers)} weighted walkers, worth {walkers.ess:.0%} as many "
            f"of equal weight (ESS), copies of {walkers.effective_ancestors:.0f} different ones"
        )


def tell_outside(
    run: Run,
    rows: np.ndarray[Any, Any],
    *,
    what: str = "rows",
    advice: str = "; --within-range draws none of these",
) -> None:
    """Print how many rows have a value outside the range of the training rows, and where.

    Arguments:
        run: run whose rows were written.
        rows: rows (M, D) in the data's units, or images, of which nothing is said.
        what: what the rows are called.
        advice: what can be done about it.
    """
    cells = run.scaling.cells
    if not run.tabular or cells is None or run.scaling.threshold is not None:
        return
    found = outside(cells.columns, rows)
    if not found.any():
        return
    worst = np.argsort(-found.sum(0), kind="stable")[:4]
    own = [f"{cells.columns[j].called} {n}" for j in worst if (n := int(found[:, j].sum()))]
    echo(
        f"  {what} with a value outside the range of the training rows: "
        f"{int(found.any(1).sum())} ({', '.join(own)}"
        f"{', ...' if (found.any(0).sum() > 4) else ''}){advice}"
    )


def check_table(out: Path, run: Run) -> None:
    """Raise ValueError unless rows of a run's model are lines of a table, as a .csv file has them.

    Arguments:
        out: .csv file that is to be written.
        run: run whose rows are written.
    """
    if not run.tabular:
        raise ValueError(f"{out}: images are no table: take .npz or .npy")


def names(run: Run) -> list[str]:
    """List the names of the columns of a run's data.

    Arguments:
        run: run whose data are a table.

    Returns:
        The names; x1, x2, ... where the columns have none.
    """
    own = run.config["data"]["columns"]
    return list(own) or [f"x{i + 1}" for i in range(run.shape[0])]


def with_texts(run: Run, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Replace the numbers of categories, from 0, by their texts, and whole numbers by integers.

    Arguments:
        run: run whose data are a table.
        rows: rows (M, D) in the data's units.

    Returns:
        The rows (M, D), of type object.
    """
    values, cells = rows.astype(object), run.scaling.cells
    for j, column in enumerate(() if cells is None else cells.columns):
        if column.whole and bool((rows[:, j] == np.round(rows[:, j])).all()):
            values[:, j] = [int(v) for v in rows[:, j]]
    for j, words in _texts(run).items():
        values[:, j] = np.array(words, dtype=object)[rows[:, j].astype(int)]
    return values


def tell_texts(run: Run, out: Path) -> None:
    """Print which columns of a file of arrays hold the numbers of categories of texts.

    Arguments:
        run: run whose rows were written.
        out: file, .npz or .npy.
    """
    own = names(run)
    which = [own[j] for j in _texts(run)]
    if which:
        where = listed([f"categories_{name}" for name in which])
        told = f"the texts in {where}" if out.suffix == ".npz" else "categories (.csv has texts)"
        echo(f"  {listed(which)}: numbers, from 0, of {told}")


def _texts(run: Run) -> dict[int, tuple[str, ...]]:
    """Return the texts of categories by the position of their column."""
    cells = run.scaling.cells
    return {j: c.texts for j, c in enumerate(cells.columns) if c.texts} if cells else {}
