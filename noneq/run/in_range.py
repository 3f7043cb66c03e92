"""Samples of a table's model within the range that each column has in the training rows.

A Gaussian knows no bounds, and the wide background of a model even less: some samples have a
negative cost, or a weight of a ton. Those of the model given that all values are in range are the
samples that are; nothing has to be trained for it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noneq.data.within import outside
from noneq.run.folder import Run
from noneq.walkers import Walkers

__all__ = ["check_ranges", "inside_range", "outside_range"]


def inside_range(run: Run, walkers: Walkers, *, wanted: bool = True) -> tuple[Walkers, float]:
    """Keep the walkers whose values are within the range of the training rows.

    Arguments:
        run: run whose data are a table.
        walkers: weighted samples of its model.
        wanted: whether to leave any out.

    Returns:
        Those that are kept, which are weighted samples of the model given the ranges, and the
        share of the model's mass that is within them.
    """
    if not wanted:
        return walkers, 1.0
    chosen = (~outside_range(run, walkers.x).any(1)).nonzero().flatten()
    return walkers[chosen], float(walkers.p[chosen].sum())


def check_ranges(run: Run) -> None:
    """Raise ValueError unless a run knows the range of the training rows in each column."""
    cells = run.scaling.cells
    if not run.tabular or cells is None:
        raise ValueError(f"{run.folder}: `within_range` is for tables of numbers: leave it out")
    if all(column.low is None for column in cells.columns if not column.levels):
        raise ValueError(
            f"{run.folder}: an earlier version trained it, which kept no ranges: train it anew, "
            "or leave `within_range` out"
        )


def outside_range(run: Run, x: Tensor) -> Tensor:
    """Find the values that are outside the range of the training rows of a run.

    Arguments:
        run: run whose data are a table.
        x: rows (M, D) in the model's units.

    Returns:
        Whether each value is outside (M, D); False where the range is not known.
    """
    cells = run.scaling.cells
    if cells is None:
        return torch.zeros(len(x), math.prod(run.shape), dtype=torch.bool, device=x.device)
    found = outside(cells.columns, run.scaling.undo(x).cpu().numpy())
    return torch.from_numpy(found).to(x.device)
