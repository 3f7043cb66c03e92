"""Distributions besides the base at which annealing starts: a fitted mixture, and a wider base.

A forward annealing whose start does not reach a mode gives a log Z that lacks the mode's mass, and
chains in that mode change the backward estimate by ``-log(1 - q)`` only, q their share (section 6
of docs/mathematics.md). So samples are annealed from two more starts: a mixture fitted to the
Markov chains that have equilibrated under the model, with a component of equal mass for every
cluster of them, and a base that is three times wider (on discrete spaces: the uniform
distribution). Each gives a stochastic lower bound of log Z. For an energy in a box both starts are
Gaussians on R^n, too: a path may start outside of the box.
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

__all__ = ["clusters", "fitted_mixture", "rare_rows", "wider"]

ROWS = 2048  # largest number of chains that are clustered: more cost time and add little
LEAST = 5  # smallest number of chains in a cluster: half of 1 % of 1,024
MOST = 16  # largest number of clusters of one density
DEPTH = 3  # number of densities
LIGHTEST = 1e-3  # smallest mass of a component that chains are annealed back to
FULL = 256  # largest dimension in which a component has a full covariance


def clusters(x: Tensor) -> Tensor:
    """Assign rows to clusters of high density (DBSCAN; Ester, Kriegel, Sander, Xu 1996).

    Columns are standardised; DBSCAN's radius is 1.2 times the distance within which 90 % of the
    rows have five neighbours. Rows that are left without a cluster are clustered again, with a
    radius found from them in the same way, up to three times in all; rows that remain are assigned
    to the nearest cluster.

    Arguments:
        x: rows (N, *shape).

    Returns:
        The index of the cluster of each row (N,), integers from 0.
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


def rare_rows(x: Tensor, order: Tensor, n: int) -> Tensor:
    """Find rows of clusters of which few rows are among those at which Markov chains start.

    Of n rows at random a cluster with one row in a hundred has n / 100, which may be too few to be
    recognised as a cluster, and a mode of the model there would be missed. So further chains start
    at rows of such clusters, until each has ten, or as many as it has rows.

    Arguments:
        x: rows (M, *shape).
        order: the indices of the rows (M,) in random order, of which the first n are starts of
            chains, and the first 2,048 are searched for clusters.
        n: number of chains.

    Returns:
        The indices of further rows (k,), none where no cluster lacks chains.
    """
    rest = order[n:ROWS]
    if not len(rest):
        return rest
    labels = clusters(x[order[:ROWS]])
    own, others = labels[:n], labels[n:]
    lacking = [max(0, 2 * LEAST - int((own == k).sum())) for k in range(int(labels.max()) + 1)]
    return torch.cat([rest[others == k][:more] for k, more in enumerate(lacking)])


def _dense(rows: Tensor) -> Tensor:
    """The labels (N,) of clusters of one density, at most `MOST`; -1 in no cluster."""
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
    """Fit a mixture to samples of a model: one component for each cluster, all of equal mass.

    Arguments:
        energy: the model. Columns are independent within a component if the model is discrete, or
            can sample its conditional distributions, as an RBM can.
        x: positions (N, *shape) of Markov chains that have equilibrated under the model.

    Returns:
        A mixture of Gaussians or, on discrete spaces, of independent variables, with exact log Z
        and samples.
    """
    x = x[:: max(1, len(x) // ROWS)]
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
    r"""Set the masses of a mixture's components to those that weighted walkers give them.

    log Z from chains annealed backward to a mixture has a bias ``-log sum_m alpha_m pi_m / rho_m``
    (section 6 of docs/mathematics.md), with alpha the shares of the chains, pi the masses of the
    mixture and rho those of the model. If pi estimates rho, it is 0 up to the error of pi.

    Arguments:
        mixture: start of the walkers' annealing.
        walkers: weighted sample of the model.
        chains: positions (N, *shape) of chains of the model, in any shares of its modes.

    Returns:
        The mixture with other masses, and the standard error that they add to log Z, from the
        spread over the walkers' islands.
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
    """Make a distribution that is wider than a base, from which annealing can start instead.

    It is a Gaussian with standard deviations larger by a factor, or uniform on discrete spaces.

    Arguments:
        base: energy with exact log Z and samples.
        rng: source of the samples to which a Gaussian is fitted if the base is not Gaussian.
        times: factor of the standard deviations.

    Returns:
        The wider base, or None if the base is uniform on a discrete space, or in a box.
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
