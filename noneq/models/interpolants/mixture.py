"""The stochastic interpolant from a Gaussian to a Gaussian mixture, with exact fields.

Energy, score and velocity field have closed forms, since the density is a mixture at every time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noneq.energies import Cache, Gaussian, GaussianMixture
from noneq.models.interpolants.path import DriftedPath
from noneq.models.interpolants.schedules import Interpolant

__all__ = ["MixturePath"]


class MixturePath(DriftedPath):
    """Connect ``N(m_0, C_0)`` at t = 0 to ``sum_k pi_k N(m_k, C_k)`` at t = 1 by exact energies.

    The energy at time t is that of ``x_t = alpha(t) x_0 + beta(t) x_1 + gamma(t) z``, with x_0 and
    x_1 drawn from the two ends and z standard normal. The density of x_t is a mixture of

        ``N(alpha m_0 + beta m_k, S_k)``,  ``S_k = alpha^2 C_0 + beta^2 C_k + gamma^2 I``.

    With ``r_k = P(k | x_t = x)``, ``y_k = S_k^-1 (x - alpha m_0 - beta m_k)`` and primes for time
    derivatives, the score s and the drift b (the velocity field that carries samples along the
    path) are

        ``s = -sum_k r_k y_k``,  ``b = sum_k r_k [alpha' m_0 + beta' m_k + S_k' y_k / 2]``.

    Derived in docs/mathematics.md. Energies are normalised: log Z = 0 at every time.

    Arguments:
        interpolant: `Interpolant`, which defines the functions alpha, beta and gamma.
        start: Gaussian at t = 0.
        end: mixture of Gaussians, or Gaussian, at t = 1.

    Raises:
        ValueError: the positions of start and end differ in shape.
    """

    def __init__(
        self, interpolant: Interpolant, start: Gaussian, end: Gaussian | GaussianMixture
    ) -> None:
        super().__init__(_mixture(start))
        self.interpolant = interpolant
        ends = _mixture(start), _mixture(end) if isinstance(end, Gaussian) else end
        if ends[0].means.shape[1:] != ends[1].means.shape[1:]:
            shapes = " and ".join(str(tuple(e.means.shape[1:])) for e in ends)
            raise ValueError(f"an interpolant joins two densities of one shape, got {shapes}")
        (m0, c0), (m1, c1) = ((e.means.flatten(1).double(), _covariances(e)) for e in ends)
        self._m0, self._c0, self._m1, self._c1 = m0, c0, m1, c1
        self._log_masses = ends[1].log_masses.double()

    def fields(self, x: Tensor, t: float) -> tuple[Tensor, Cache]:
        """Compute the energies U(x, t), their gradients and the drift, a velocity field b(x, t).

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The energies (B,), and a dictionary of ``g``, the gradients dU/dx, and ``b``, the
            drift, both (B, *shape) and without an autograd graph.
        """
        with torch.no_grad():
            u, g, b = self._all(x, t)
        return u, {"g": g, "b": b}

    def drift(self, x: Tensor, t: float) -> Tensor:
        """Compute the drift (velocity field) ``b(x, t)`` of the path, differentiable in x.

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The drift (B, *shape).
        """
        return self._all(x, t)[2]

    def answer(self, y: Tensor, t: float) -> Tensor:
        """Compute how much the drift (velocity field) changes if ``t y`` is added to the score.

        Arguments:
            y: vectors (B, *shape), e.g. the gradients of a reward.
            t: time in [0, 1].

        Returns:
            The change of the drift (B, *shape).
        """
        p, q = self.interpolant.response(t)
        return p * (y.flatten(1) @ self._c0.to(y)).view_as(y) + q * y

    def _all(self, x: Tensor, t: float) -> tuple[Tensor, Tensor, Tensor]:
        c, d = self.interpolant.at(t), self._m0.shape[1]
        eye = torch.eye(d, dtype=self._c0.dtype, device=self._c0.device)
        s = c.alpha**2 * self._c0 + c.beta**2 * self._c1 + c.gamma**2 * eye
        half = c.alpha_d_alpha * self._c0 + c.beta * c.d_beta * self._c1 + c.gamma_d_gamma * eye
        means = c.alpha * self._m0 + c.beta * self._m1
        moving = c.d_alpha * self._m0 + c.d_beta * self._m1
        root = torch.linalg.cholesky_ex(s).L  # S is positive definite: no look at it
        whiten = torch.linalg.solve_triangular(root, eye.expand_as(root), upper=False)
        norms = root.diagonal(dim1=1, dim2=2).log().sum(1) + d / 2 * math.log(2 * math.pi)
        z = (x.flatten(1) - means.to(x)[:, None]) @ whiten.mT.to(x)  # (K, B, d)
        log_p = (self._log_masses - norms).to(x)[:, None] - z.square().sum(2) / 2
        y, r = z @ whiten.to(x), log_p.softmax(0)[..., None]
        b = (r * (moving.to(x)[:, None] + y @ half.to(x))).sum(0)
        return -log_p.logsumexp(0), (r * y).sum(0).view_as(x), b.view_as(x)


def _mixture(gaussian: Gaussian) -> GaussianMixture:
    """Return a Gaussian as a normalised mixture of one component."""
    mean = gaussian.mean[None]
    return GaussianMixture(mean, gaussian.covariance()[None], mean.new_ones(1))


def _covariances(mixture: GaussianMixture) -> Tensor:
    roots = mixture.roots.double()
    return roots @ roots.mT
