"""Covariances fitted to rows of data, in the units of their standardised columns."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from noneq.energies.covariance import Cholesky, LowRank

__all__ = ["Units", "full", "low_rank", "units"]


class Units(NamedTuple):
    """The scales of the columns of rows, and what is added to their variances.

    Attributes:
        scale: standard deviations (d,) of the columns, noise included; that of a constant column
            is the root of the mean variance.
        least: numbers (d,) that are added to the variances.
    """

    scale: Tensor
    least: Tensor


def units(flat: Tensor, noise: float, floor: float) -> Units:
    """Compute the scales of standardised columns, and what is added to the variances.

    Arguments:
        flat: rows (M, d).
        noise: standard deviation of Gaussian noise that will be added to the rows later.
        floor: relative increase of the variances.

    Returns:
        The `Units` of the columns.

    Raises:
        ValueError: all rows are equal, and there is no noise.
    """
    variance = (flat - flat.mean(0)).square().mean(0)
    if not float(variance.mean()) + noise**2 > 0:
        raise ValueError("all rows are equal: no density has this covariance; add noise")
    constant = variance <= 1e-14 * flat.mean(0).square()
    # noise included: a column of tiny variance consists mostly of it
    scale = (torch.where(constant, variance.mean(), variance) + noise**2).sqrt()
    return Units(scale, floor * (scale.square() - noise**2) + noise**2)


def full(flat: Tensor, added: Units, dtype: torch.dtype, *, shrunk: bool) -> Cholesky:
    """Fit a full covariance, with the numbers ``added.least`` on its diagonal.

    Arguments:
        flat: rows (M, d).
        added: units of the columns.
        dtype: dtype of the factor.
        shrunk: whether the covariance is shrunk after Ledoit and Wolf (2004); otherwise it is the
            empirical covariance.

    Returns:
        The square root of the covariance.
    """
    z = ((flat - flat.mean(0)) / added.scale).cpu()
    scale = added.scale.cpu()
    if shrunk:
        from sklearn.covariance import ledoit_wolf

        c = torch.from_numpy(ledoit_wolf(z.numpy(), assume_centered=True)[0])
    else:
        c = z.T @ z / len(z)
    return Cholesky(scale * c * scale[:, None] + added.least.cpu().diag(), dtype)


def low_rank(flat: Tensor, added: Units, dtype: torch.dtype, rank: int) -> LowRank:
    """Fit a covariance by factor analysis, with the numbers ``added.least`` on its diagonal.

    Arguments:
        flat: rows (M, d).
        added: units of the columns.
        dtype: dtype of the factor.
        rank: largest number of factors.

    Returns:
        The square root of the covariance.
    """
    from sklearn.decomposition import FactorAnalysis
    from sklearn.exceptions import ConvergenceWarning

    z, scale = ((flat - flat.mean(0)) / added.scale).cpu(), added.scale.cpu()
    r = min(rank, flat.shape[1] - 1, len(flat) - 1)
    # before the floor, constant or equal columns have an infinite likelihood
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = FactorAnalysis(r).fit(z.numpy())
    w = torch.from_numpy(found.components_.T) * scale[:, None]
    own = torch.from_numpy(found.noise_variance_) * scale.square() + added.least.cpu()
    return LowRank(own.sqrt(), w, dtype)
