r"""Where annealing may start besides the base: at every cluster of chains, and far out.

A forward annealing whose start does not reach a mode gives a log Z that lacks the mode's mass, and
chains in that mode move the backward side by ``-log(1 - q)`` only, q their share (section 6 of
docs/mathematics.md). So walkers are annealed from two more starts: a mixture fitted to the chains
that have equilibrated under the model, every cluster of them a component of equal mass, and a base
that is three times wider (of discrete sites: the uniform distribution). Each is a stochastic lower
bound of log Z of its own. In boxes both starts are Gaussians, too: a path may start outside.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noneq.energies import (
    Bernoulli,
    Categorical,
    Cholesky,
    Conditional,
    Diagonal,
    Energy,
    Factor,
    Gaussian,
    GaussianMixture,
    Identity,
    LowRank,
    Mixture,
    Solvable,
)
from noneq.spaces import ONE_HOT, Discrete, Real, space_of
from noneq.walkers import Walkers

__all__ = ["clusters", "fitted_mixture", "wider"]

ROWS = 2048  # chains that are clustered: distances between more cost time and tell little
LEAST = 5  # chains that make a cluster: half of what 1 % of 1,024 are
MOST = 16  # clusters of one density
DEPTH = 3  # densities
LIGHTEST = 1e-3  # mass of a component that chains are annealed back to
FULL = 256  # dimensions up to which a component has a full covariance


def clusters(x: Tensor) -> Tensor:
    """The cluster of every row of x (N, *shape): numbers (N,) from 0.

    Clusters of density (DBSCAN; Ester, Kriegel, Sander, Xu 1996) in standardised columns; the
    radius is 1.2 times the distance within which nine rows of ten have five neighbours. What is
    left between clusters is clustered again, by a radius of its own, and what is left then goes
    to the nearest.
    """
    rows = _standardised(x)
    labels = torch.full((len(x),), -1, device=x.device)
    for _ in range(DEPTH):
        left = (labels < 0).nonzero()[:, 0]
        if len(left) > LEAST:
            found = _dense(rows[left])
            labels[left] = torch.where(found < 0, -1, found + labels.max() + 1)
    known = labels >= 0
    if not bool(known.any()):
        return torch.zeros_like(labels)
    nearest = torch.cdist(rows[~known], rows[known]).argmin(1)
    labels[~known] = labels[known][nearest]
    return labels


def _dense(rows: Tensor) -> Tensor:
    """Labels (N,) of clusters of density, at most as many as `MOST`, -1 between them."""
    from sklearn.cluster import DBSCAN

    near = torch.cdist(rows, rows).kthvalue(LEAST + 1, 1).values
    radius = 1.2 * float(near.quantile(0.9)) or 1.0
    while True:
        found = DBSCAN(radius, min_samples=LEAST).fit(rows.cpu().numpy()).labels_
        if found.max() < MOST:
            return torch.from_numpy(found).to(rows.device).long()
        radius *= 1.5


def _standardised(x: Tensor) -> Tensor:
    flat = x.detach().flatten(1).double()
    spread = flat.std(0)
    return (flat - flat.mean(0)) / torch.where(spread > 0, spread, 1.0)


def fitted_mixture(energy: Energy, x: Tensor) -> GaussianMixture | Mixture:
    """A mixture with a component of equal mass for every cluster of chains x (N, *shape).

    Arguments:
        energy: the model; one that draws from its own conditionals gets independent units.
        x: chains that have equilibrated under it.
    """
    x = x[:: math.ceil(len(x) / ROWS)]
    labels = clusters(x)
    groups = [x[labels == k] for k in range(int(labels.max()) + 1)]
    if isinstance(space := space_of(energy), Discrete):
        alone = Categorical if space == ONE_HOT else Bernoulli
        return Mixture([alone.fit(group) for group in groups])
    if isinstance(energy, Conditional):
        return Mixture([Gaussian.fit(group, "diagonal") for group in groups])
    if x[0].numel() > FULL:
        return Mixture([Gaussian.fit(group, "low-rank", rank=16) for group in groups])
    fitted = [Gaussian.fit(group) for group in groups]
    covariances = torch.stack([one.covariance() for one in fitted])
    means = torch.stack([one.mean for one in fitted])
    return GaussianMixture(means, covariances, means.new_ones(len(fitted)))


@torch.no_grad()
def reweighted(
    mixture: GaussianMixture | Mixture, walkers: Walkers, chains: Tensor
) -> tuple[GaussianMixture | Mixture, float]:
    r"""The mixture with the masses that weighted walkers give its components, and what that costs.

    Chains annealed back to there end in every component as often as walkers annealed from there
    arrive from it: ``log Z`` by them is off by ``-log sum_m alpha_m pi_m / rho_m`` (section 6 of
    docs/mathematics.md), alpha the chains' shares, pi the start's masses and rho the
    model's. With pi an estimate of rho that is 0 but for its error, which is returned, by the
    spread over the walkers' islands.

    Arguments:
        mixture: where the walkers were annealed from.
        walkers: weighted, of the model.
        chains: (N, *shape) of the model, in any shares.
    """
    own = mixture.responsibilities(walkers.x).double() * walkers.p[:, None]
    masses = own.sum(0).clamp(min=LIGHTEST)
    shares = mixture.responsibilities(chains).double().mean(0)
    r = walkers.islands
    spread = (r * own.view(r, -1, len(masses)).sum(1) / masses) @ shares
    few = (r - 1) / (r - 3) if r > 3 else math.nan  # as of `Walkers.log_z`
    error = float((few * spread.var() / r).sqrt())
    return mixture.with_masses(masses.to(walkers.x)), error


def wider(base: Solvable, rng: torch.Generator, times: float = 3.0) -> Solvable | None:
    """A base whose standard deviations are as many times the base's; of sites, uniform ones.

    Returns None where there is nothing wider: of uniform sites, and in a box.
    """
    if isinstance(base, Bernoulli | Categorical):
        even = torch.zeros_like(base.logits)
        return None if bool((base.logits == even).all()) else type(base)(even)
    if not isinstance(space_of(base), Real):
        return None
    if not isinstance(base, Gaussian):
        base = Gaussian.fit(base.sample(2048, rng))
    return Gaussian(base.mean, _stretched(base, times))


def _stretched(base: Gaussian, times: float) -> Factor:
    factor, dtype = base.factor, base.mean.dtype
    if isinstance(factor, Identity):
        return Identity(times * factor.scale)
    if isinstance(factor, Diagonal):
        return Diagonal(times * factor.scale, dtype)
    if isinstance(factor, LowRank):
        return LowRank(times * factor.scale, times * factor.loadings, dtype)
    return Cholesky(times**2 * base.covariance(), dtype)
