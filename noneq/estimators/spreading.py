"""Rows of `EnergyDensity` in the units of its model: repeated values in their intervals."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from noneq.data import Scaling
from noneq.data.gaps import check_apart
from noneq.random import uniform

__all__ = ["conditions", "places", "states"]

DRAWS = 8  # of repeated values from their intervals


def places(scaling: Scaling, columns: int) -> Tensor:
    """Choose where in its interval a value goes, in each of eight draws, the same for every row.

    In each column there is one draw in each eighth of the interval (a Latin hypercube, McKay and
    others 1979), so that the mean over the draws has a smaller variance than independent ones.

    Arguments:
        scaling: scaling of the model.
        columns: number of columns D.

    Returns:
        Numbers in [0, 1), float64 (8, D); (1, D) if no values are spread over intervals.
    """
    if scaling.cells is None:
        return torch.full((1, columns), 0.5, dtype=torch.float64, device="cpu")
    order = np.random.default_rng(0).permuted(np.tile(np.arange(DRAWS), (columns, 1)), axis=1)
    return torch.from_numpy((order.T + 0.5) / DRAWS)


def states(scaling: Scaling, values: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Convert rows to the model's units in double precision.

    Arguments:
        scaling: scaling of the model.
        values: rows (M, D), float64, in the user's units.
        u: where in its interval each repeated value goes, in [0, 1), (M, D) or (D,).

    Returns:
        The rows (M, D), float64, and what is added to their log-density for that of the rows in
        units of ``scaling.scale`` (M,): ``log |det|`` of the map of rows, and the log-volume of
        cells in the user's units.

    Raises:
        ValueError: a value is none of the categories of its column.
    """
    volume, y = values.new_zeros(len(values)), values
    if scaling.cells is not None:
        y = scaling.cells.spread(values, u.expand(values.shape))
        volume = scaling.cells.log_volume(y, torch.ones_like(scaling.scale))
    x = (y - scaling.shift) / scaling.scale
    own = scaling.coordinates
    if own is None:
        return x, volume
    z, log_slope = own.apply(x)
    return z, log_slope + volume


def conditions(scaling: Scaling, values: Tensor, rng: torch.Generator) -> Tensor:
    """Convert rows with missing values to the model's units; repeated values are drawn.

    Arguments:
        scaling: scaling of the model.
        values: rows (M, D), float64, NaN where a value is missing.
        rng: source of randomness of the draws.

    Returns:
        The rows (M, D), float64, NaN where a value is missing.

    Raises:
        ValueError: a value is none of the categories of its column, or the model's coordinates
            are those of a flow.
    """
    check_apart(scaling)
    missing, u = values.isnan(), torch.zeros_like(values)
    known = values.new_zeros(())  # for what is missing, any number that the column can have
    if scaling.cells is not None:
        own_rng = torch.Generator("cpu").manual_seed(rng.initial_seed() + 1)
        u = uniform(values.shape, own_rng)
        own = [column.levels[0] if column.levels else 0.0 for column in scaling.cells.columns]
        known = values.new_tensor(own)
    x, _ = states(scaling, torch.where(missing, known, values), u)
    return x.masked_fill(missing, torch.nan)
