"""Conditional distributions of Gaussians and of mixtures of Gaussians, given some coordinates.

Of a row x some coordinates x_o are given, others x_m are missing. With the coordinates ordered so
that the given ones come first, the Cholesky factor of a covariance ``C = L L^T`` has the blocks

    ``L = [[L_o, 0], [A, L_m]]``,  ``z = L_o^-1 (x_o - m_o)``,

so that ``log N(x_o) = -|z|^2 / 2 - log det L_o - (d_o / 2) log 2 pi``, and x_m given x_o is a
Gaussian of mean ``m_m + A z`` and covariance ``L_m L_m^T``. In a mixture each component is
conditioned in this way, and its probability becomes proportional to ``pi_k N_k(x_o)``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noneq.energies.gaussian import Gaussian, GaussianMixture

__all__ = ["Conditioned", "RowFactor"]


class RowFactor:
    """A square root of a covariance of its own for each of R rows, for n walkers of each row.

    It moves the coordinates that are missing in a row, and leaves those that are given as they
    are. `mul`, `t_mul`, `solve` and `t_solve` are those of a `noneq.energies.Factor`, applied to
    ``R n`` vectors, those of a row side by side.

    Arguments:
        roots: lower triangular matrices (R, d, d), with the identity where coordinates are given.
        missing: booleans (R, d), true where a coordinate of a row is missing.
    """

    def __init__(self, roots: Tensor, missing: Tensor) -> None:
        self.roots, self.missing = roots, missing[:, None].to(roots)

    def _each(self, v: Tensor, matrices: Tensor) -> Tensor:
        blocks = v.reshape(len(self.roots), -1, self.roots.shape[-1]) * self.missing
        return (blocks @ matrices).view_as(v)

    def mul(self, v: Tensor) -> Tensor:
        """Return ``L v`` (R n, *shape), 0 at coordinates that are given."""
        return self._each(v, self.roots.mT)

    def t_mul(self, v: Tensor) -> Tensor:
        """Return ``L^T v`` (R n, *shape), 0 at coordinates that are given."""
        return self._each(v, self.roots)

    def solve(self, v: Tensor) -> Tensor:
        """Return ``L^-1 v`` (R n, *shape) of the missing coordinates, 0 at others."""
        return self._each(v, torch.linalg.inv(self.roots).mT)

    def t_solve(self, v: Tensor) -> Tensor:
        """Return ``L^-T v`` (R n, *shape) of the missing coordinates, 0 at others."""
        return self._each(v, torch.linalg.inv(self.roots))

    def log_det(self, dim: int) -> float:
        """Return the mean over rows of ``log |det L|`` of the missing coordinates.

        Arguments:
            dim: dimension d of the vectors.

        Returns:
            The mean logarithm.

        Raises:
            ValueError: the roots are of another dimension.
        """
        if dim != self.roots.shape[-1]:
            raise ValueError(f"roots of dimension {self.roots.shape[-1]}, not {dim}")
        return float(self.roots.diagonal(dim1=1, dim2=2).log().sum(1).mean())


class Conditioned:
    """The distributions of the missing coordinates of R rows, given the others, under a base.

    Arguments:
        base: Gaussian, or mixture of Gaussians.
        x: rows (R, *shape), with NaN where a coordinate is missing.

    Attributes:
        x, missing: the rows, and booleans (R, d), true where a coordinate is missing.
        log_density: ``log p(x_o)`` (R,) of the given coordinates under the base, float64, in nats;
            0 where none is given.
        masses: probabilities (R, K) of the components, given x_o.
        means: means (R, K, d) of the components, given x_o, which are x_o where it is given.

    Raises:
        ValueError: the base is no Gaussian and no mixture of Gaussians.

    >>> base = Gaussian.fit(torch.tensor([[0.0, 0.0], [1.0, 1.1], [2.0, 1.9]]))
    >>> given = Conditioned(base, torch.tensor([[1.5, math.nan]]))
    >>> filled = given.sample(1000, torch.Generator().manual_seed(0))
    >>> filled.shape, bool((filled[..., 0] == 1.5).all()), 1 < float(filled[..., 1].mean()) < 2
    (torch.Size([1, 1000, 2]), True, True)
    """

    def __init__(self, base: object, x: Tensor) -> None:
        means, covariances, log_masses = _components(base)
        flat = x.flatten(1).double()
        rows, (count, d) = len(x), means.shape
        self.x, self.missing = x, flat.isnan()
        patterns, self._pattern = torch.unique(self.missing, dim=0, return_inverse=True)
        log_p = flat.new_zeros(rows, count)
        self.means = torch.where(self.missing, 0.0, flat)[:, None].repeat(1, count, 1)
        self._roots = means.new_zeros(len(patterns), count, d, d)
        for i, missing in enumerate(patterns):
            at, o, m = (self._pattern == i).nonzero()[:, 0], *_both(~missing)
            order = torch.cat([o, m])
            root = torch.linalg.cholesky(covariances[:, order][:, :, order])
            low, k = root[:, : len(o), : len(o)], len(o)
            off = (flat[at][:, o] - means[:, None, o]).mT
            z = torch.linalg.solve_triangular(low, off, upper=False)
            norm = low.diagonal(dim1=1, dim2=2).log().sum(1) + k / 2 * math.log(2 * math.pi)
            log_p[at] = (log_masses[:, None] - z.square().sum(1) / 2 - norm[:, None]).T
            filled = means[:, m][..., None] + root[:, k:, :k] @ z
            self.means[at[:, None], :, m[None]] = filled.permute(2, 1, 0)
            self._roots[i][:, m[:, None], m] = root[:, k:, k:]
        self.log_density = log_p.logsumexp(1)
        self.masses = (log_p - self.log_density[:, None]).exp()

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n exact, independent samples of the missing coordinates of each row.

        Arguments:
            n: number of samples of each row.
            rng: source of randomness.

        Returns:
            The rows (R, n, *shape), in which the given coordinates are as they are in x.
        """
        rows, count, d = self.means.shape
        which = torch.multinomial(self.masses, n, replacement=True, generator=rng)
        xi = torch.randn(
            (rows, n, d), generator=rng, dtype=self.means.dtype, device=self.means.device
        )
        found = self.means.gather(1, which[..., None].expand(-1, -1, d))
        for k in range(count):
            moved = xi @ self._roots[self._pattern, k].mT
            found += torch.where((which == k)[..., None], moved, 0.0)
        given = self.x.flatten(1)[:, None]
        x = torch.where(self.missing[:, None], found.to(given), given)
        return x.view(rows, n, *self.x.shape[1:])

    def factor(self) -> RowFactor:
        """Return a square root of each row's mean covariance of a component, given x_o.

        It preconditions moves of the missing coordinates, and leaves the given ones as they are.
        """
        covariances = self._roots @ self._roots.mT
        mean = torch.einsum("rk,rkde->rde", self.masses, covariances[self._pattern])
        mean = mean + torch.diag_embed((~self.missing).to(mean))
        return RowFactor(torch.linalg.cholesky(mean).to(self.x), self.missing)


def _components(base: object) -> tuple[Tensor, Tensor, Tensor]:
    """Return means (K, d), covariances (K, d, d) and log-masses (K,) of Gaussians, float64."""
    if isinstance(base, Gaussian):
        mean, covariance = base.mean.flatten().double(), base.covariance()
        return mean[None], covariance[None], mean.new_zeros(1)
    if isinstance(base, GaussianMixture):
        roots = base.roots.double()
        return base.means.flatten(1).double(), roots @ roots.mT, base.log_masses.double()
    raise ValueError(
        "conditional samples start at a base of Gaussians, whose conditionals are known, and this "
        f"base is a {type(base).__name__}"
    )


def _both(flags: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices where flags are true, and those where they are false."""
    return flags.nonzero()[:, 0], (~flags).nonzero()[:, 0]
