r"""The log Z of a model of few columns without annealing: by quadrature, by importance sampling.

Quadrature sums ``exp(-U)`` over the midpoints of a grid of boxes; where the density is smooth over
a box and has fallen at the edge, its error falls faster than any power of their width. Boxes with
mass, and their neighbours, are divided once more. Importance
sampling has for proposal q a defensive mixture of the base, of Gaussians fitted to samples of the
model, and of one wide Gaussian (Hesterberg 1995): weights ``exp(-U) / q`` have a finite variance
where those of the base have, and the others bring the effective sample size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, max_pool3d

from noneq.energies import Gaussian, GaussianMixture, Mixture, Solvable
from noneq.energies.covariance import Cholesky
from noneq.numerics import full_precision

__all__ = ["Exact", "by_importance", "by_quadrature", "proposal"]

BATCH = 50_000
HEAVY = 18.0  # nats above the lowest energy up to which boxes are divided
SHARES = (0.4, 0.5, 0.1)  # of the base, of the fitted mixture and of the wide Gaussian


@dataclass(frozen=True)
class Exact:
    """A log Z in nats, and how far it may be wrong.

    Attributes:
        log_z: the value.
        error: standard error of importance sampling; of quadrature, how far values by other grids
            are at most.
        ess: effective sample size over the number of draws, 1 for quadrature.
    """

    log_z: float
    error: float
    ess: float = 1.0


@full_precision()
@torch.no_grad()
def by_importance(
    energy: Callable[[Tensor], Tensor], q: Solvable, n: int, rng: torch.Generator
) -> Exact:
    """Estimate log Z by n draws of a normalised proposal q."""
    parts = []
    for start in range(0, n, BATCH):
        x = q.sample(min(BATCH, n - start), rng)
        parts.append(q(x).double() - energy(x).double())
    log_w = torch.cat(parts)
    top = log_w.max()
    w = (log_w - top).exp()
    mean, ess = w.mean(), w.sum() ** 2 / w.square().sum() / n
    return Exact(float(top + mean.log()), float(w.std() / mean) / math.sqrt(n), float(ess))


@full_precision()
@torch.no_grad()
def by_quadrature(energy: Callable[[Tensor], Tensor], x: Tensor, cells: int, parts: int) -> Exact:
    """Integrate ``exp(-U)`` over a box around samples, in cells^d boxes.

    The box is wider than the samples by 0.6 of their range. The error is the largest difference to
    a division of boxes by 2/3 as many parts, and to another box, wider by the range.

    Arguments:
        energy: the energy U.
        x: samples (M, d) of the model and of its base, d = 2 or 3.
        cells: number of boxes along a side.
        parts: number of parts along a side of a box with mass.
    """
    value = _integral(energy, x, cells, parts, 0.3)
    fewer = _integral(energy, x, cells, 2 * parts // 3, 0.3)
    others = fewer, _integral(energy, x, 5 * cells // 4, parts, 0.5)
    return Exact(value, max(abs(other - value) for other in others))


def _integral(
    energy: Callable[[Tensor], Tensor], x: Tensor, cells: int, parts: int, beside: float
) -> float:
    d, low, high = x.shape[1], x.double().amin(0), x.double().amax(0)
    low, high = low - beside * (high - low), high + beside * (high - low)
    width = (high - low) / cells
    corners = low + width * _grid(cells, d)
    u = _energies(energy, corners + width / 2)
    heavy = (u < u.min() + HEAVY).double().view(1, 1, *[cells] * d)
    pool = max_pool3d if d == 3 else max_pool2d
    near = pool(heavy, 3, 1, 1).flatten() > 0
    total = (-u[~near]).logsumexp(0)
    for corner in torch.split(corners[near], max(1, BATCH // parts**d)):
        points = corner[:, None] + width / parts * (_grid(parts, d) + 0.5)
        inner = (-_energies(energy, points.flatten(0, 1))).logsumexp(0)
        total = torch.logaddexp(total, inner - d * math.log(parts))
    return float(total + width.log().sum())


def _grid(cells: int, d: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(cells, dtype=torch.float64)] * d)


def _energies(energy: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    return torch.cat([energy(part.float()).double() for part in torch.split(points, BATCH)])


def proposal(base: Solvable, samples: Tensor, components: int, seed: int) -> Mixture:
    """Return the defensive mixture of a base and of Gaussians around samples (M, d)."""
    fitted = GaussianMixture.fit(samples, components, floor=0.02, seed=seed)
    both = torch.cat([samples, base.sample(len(samples), torch.Generator().manual_seed(seed))])
    wide = Gaussian(both.mean(0), Cholesky(4 * torch.cov(both.T).double(), both.dtype))
    return Mixture([base, fitted, wide], torch.tensor(SHARES))
