"""The support of the data, and how much of a model's probability mass lies outside it.

The rows are split at random into halves A and B. With ``r(x)`` the Euclidean distance from x to
its nearest row of A, and t the k-th smallest of ``r`` over the b rows of B, ``k = ceil(0.99 (b +
1))``, at most b, the mass outside is

    ``m = P(r(x) > t)``,  x from the model.

If the model is the data's distribution, x and the rows of B are exchangeable given A, so the
expectation of m is ``1 - k / (b + 1)``, at most 0.01 from 99 rows of B on, whatever the
distribution of the distances. Alaa et al. 2022 (arXiv 2102.08921) call ``1 - m`` the
alpha-precision, alpha = 0.99, here with sets of small distance for those of high density.

It detects mass where there are no data, such as spurious modes. A model that is too narrow passes.
With few rows t is an extreme of the distances, and the standard error for an imperfect model is
too small. In high dimensions distances concentrate: a model that is a little too wide in all of 64
dimensions has m near 1, and a mode that is nearer to the data than they are to each other
contributes nothing. The value of m depends on the units of the columns.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from noneq.numerics import PART
from noneq.walkers import Walkers

__all__ = ["Share", "nearest", "off_support_mass"]

ALPHA = 0.99
MOST = 4096  # largest number of rows of either half: more cost time and add little


class Share(NamedTuple):
    """Holds an estimate of the share of a model's probability that is far from all data.

    Far means: farther from the nearest data row than 99 % of held-out data are.

    Attributes:
        value: estimate of the share, between 0 and 1.
        stderr: standard error of the estimate, due to finite numbers of samples and of rows.
        expected: expectation of the share if the model were the data's distribution.
    """

    value: float
    stderr: float
    expected: float


def off_support_mass(walkers: Walkers, data: Tensor, rng: torch.Generator) -> Share | None:
    """Estimate the share of a model's probability that lies outside the support of the data.

    It is ``P(r(x) > t)`` for x from the model: r is the distance to the nearest row of one random
    half of the data, and t the 99 % quantile of r over the other half.

    Arguments:
        walkers: weighted sample of the model.
        data: rows (M, *shape), with the noise that the model was trained with; at most 4,096 rows
            of either half are used.
        rng: source of the random split of the rows, on their device.

    Returns:
        The share with its standard error and its expectation for a perfect model, or None with
        fewer than two rows.
    """
    if len(data) < 2:
        return None
    rows = data[torch.rand(len(data), generator=rng, device=data.device).argsort()]
    a, b = rows[::2][:MOST], rows[1::2][:MOST]
    k = min(len(b), math.ceil(ALPHA * (len(b) + 1)))
    threshold = nearest(b, a).kthvalue(k).values
    expected = 1 - k / (len(b) + 1)
    away = nearest(walkers.x, a) > threshold
    value, variance = _weighted(walkers, away)
    variance += expected * (1 - expected) / len(b)
    return Share(value, math.sqrt(variance), expected)


def _weighted(walkers: Walkers, away: Tensor) -> tuple[float, float]:
    """The share, a ratio of means, and its variance, from the spread over the islands."""
    p, mass = walkers.p.view(walkers.islands, -1), walkers.weights.mass_by_island
    away = (p * away.view_as(p)).sum(1)
    value = min(1.0, float(away.sum()))
    factor = walkers.islands / (walkers.islands - 1) if walkers.islands > 1 else math.nan
    return value, factor * float((away - value * mass).square().sum())


def nearest(x: Tensor, rows: Tensor) -> Tensor:
    """Compute the Euclidean distance from each point to the nearest of several rows.

    Arguments:
        x: points (N, *shape).
        rows: rows (M, *shape).

    Returns:
        Distances (N,) in float64.
    """
    # centred, since squared distances are differences of squares
    rows = rows.flatten(1).double()
    centre = rows.mean(0)
    rows = rows - centre
    at_once = max(1, PART // (len(rows) + rows.shape[1]))
    found = [x[i : i + at_once].flatten(1).double() - centre for i in range(0, len(x), at_once)]
    return torch.cat([torch.cdist(part, rows).amin(1) for part in found])
