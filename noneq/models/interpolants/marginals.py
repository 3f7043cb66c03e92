"""The exact energies at all times of an interpolant whose data are Gaussian, or Gaussian mixtures.

They are the energies of ``x_t = alpha(t) x_0 + beta(t) x_1`` if x_1 is drawn from the base of a
model, with mean m and covariance ``C = Q diag(lambda) Q^T``, and x_0 from ``N(m, C)``, each
relative to m. A network that learns U(x, t) adds what the data differ by from the base, see
`noneq.models.interpolants.TimedEnergy`. Derived in docs/mathematics.md.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn

from noneq.energies import (
    Diagonal,
    Gaussian,
    GaussianMixture,
    Identity,
    evaluate,
    moments,
)
from noneq.models.interpolants.schedules import Coefficients

__all__ = ["GaussianMarginals", "Marginals", "MixtureMarginals", "marginals_of"]


class GaussianMarginals(nn.Module):
    """The energies at all times if the data are those of a Gaussian base.

    With ``xi = Q^T (x - m)`` and ``S = (alpha^2 + beta^2) lambda``, the energy is
    ``sum_i [xi_i^2 / S_i + log(S_i / lambda_i)] / 2``, that of the base at t = 0. All coefficients
    are 0-d, or columns (B, 1) with one number for each row.

    Arguments:
        base: Gaussian with mean m and covariance C.

    Attributes:
        mean: mean m (*shape).
        q: eigenvectors Q of C (d, d).
        variance: eigenvalues lambda of C (d,).
    """

    q: Tensor
    variance: Tensor

    def __init__(self, base: Gaussian) -> None:
        super().__init__()
        self._base = (base,)  # which is a module of another one
        variance, q = _eigen(base)
        self.register_buffer("q", q.to(base.mean))
        self.register_buffer("variance", variance.to(base.mean))

    @property
    def start(self) -> Gaussian:
        """The energy at t = 0, the base."""
        return self._base[0]

    @property
    def mean(self) -> Tensor:
        """The mean m of the base."""
        return self.start.mean

    def energy(self, x: Tensor, c: Coefficients) -> Tensor:
        """Compute the energies (B,) of rows x (B, *shape), with their autograd graph to x."""
        return self._widened(self.start(x), c)

    def fields(self, x: Tensor, c: Coefficients) -> tuple[Tensor, Tensor]:
        """Compute the energies (B,) and their gradients (B, *shape), of one time."""
        u, cache = evaluate(self.start, x)
        return self._widened(u, c), cache["g"] / c.width

    def score(self, xi: Tensor, c: Coefficients) -> Tensor:
        """Compute the scores ``Q^T s`` (B, d) at points xi (B, d) along the eigenvectors."""
        return -xi / (c.width * self.variance)

    def drift(self, x: Tensor, c: Coefficients) -> Tensor:
        """Compute the drift (B, *shape), the velocity field that carries samples along in time."""
        return (c.alpha_d_alpha + c.beta * c.d_beta) / c.width * (x - self.mean)

    def _widened(self, u: Tensor, c: Coefficients) -> Tensor:
        width = c.width.flatten() if c.width.dim() else c.width
        return u / width + len(self.variance) / 2 * width.log()


class MixtureMarginals(nn.Module):
    """The energies at all times if the data are those of a mixture of Gaussians.

    In the variables ``z = diag(lambda)^-1/2 Q^T (x - m)``, of mean 0 and covariance I, component
    k of the mixture has a mean mu_k and a covariance ``R_k diag(l_k) R_k^T``, and the density is

        ``sum_k pi_k N(z; beta mu_k, R_k diag(S_k) R_k^T)``,  ``S_k = alpha^2 + beta^2 l_k``,

    which is normalised, so that log Z = 0 at every time. With the probabilities r_k of the
    components given z, and ``y_k = R_k^T (z - beta mu_k)``, score and drift are

        ``s = -sum_k r_k R_k y_k / S_k``,
        ``b = sum_k r_k [beta' mu_k + R_k (alpha alpha' + beta beta' l_k) y_k / S_k]``.

    Arguments:
        base: mixture of Gaussians.

    Attributes:
        start: density at t = 0, a mixture of the single Gaussian N(m, C).
        mean: mean m (*shape) of the mixture.
        q: eigenvectors Q of its covariance C (d, d).
        variance: eigenvalues lambda of C (d,).
        turn: matrices ``diag(lambda)^-1/2 R_k`` side by side (d, K d).
        shift: ``R_k^T mu_k`` (K, d).
        spread: variances l_k (K, d).
        log_masses: logarithms of pi (K,).
    """

    mean: Tensor
    q: Tensor
    variance: Tensor
    turn: Tensor
    shift: Tensor
    spread: Tensor
    log_masses: Tensor

    def __init__(self, base: GaussianMixture) -> None:
        super().__init__()
        like, pi = base.means, base.log_masses.double().softmax(0)
        own, (center, covariance) = base.roots.double() @ base.roots.double().mT, moments(base)
        mean = center.flatten().double()
        away = like.flatten(1).double() - mean
        variance, q = torch.linalg.eigh(covariance)
        variance = variance.clamp(min=variance[-1] * 1e-12)
        white = q / variance.sqrt()
        spread, r = torch.linalg.eigh(white.T @ own @ white)
        turn = variance.rsqrt()[:, None] * r
        found = {
            "mean": center,
            "q": q,
            "variance": variance,
            "turn": turn.transpose(0, 1).flatten(1),
            "shift": torch.einsum("kij,ki->kj", r, away @ white),
            "spread": spread.clamp(min=1e-12),
            "log_masses": pi.log(),
        }
        for name, value in found.items():
            self.register_buffer(name, value.to(like))
        self.start = GaussianMixture(center[None].to(like), covariance[None], like.new_ones(1))

    def energy(self, x: Tensor, c: Coefficients) -> Tensor:
        """Compute the energies (B,) of rows x (B, *shape), with their autograd graph to x."""
        log_p: Tensor = self._parts(self._within(x), c)[2]
        return -log_p.logsumexp(1)

    def fields(self, x: Tensor, c: Coefficients) -> tuple[Tensor, Tensor]:
        """Compute the energies (B,) and their gradients (B, *shape), of one time."""
        y, s, log_p = self._parts(self._within(x), c)
        g = self._mixed(log_p.softmax(1), y / s) @ self.q.T
        return -log_p.logsumexp(1), g.view_as(x)

    def score(self, xi: Tensor, c: Coefficients) -> Tensor:
        """Compute the scores ``Q^T s`` (B, d) at points xi (B, d) along the eigenvectors."""
        y, s, log_p = self._parts(xi, c)
        return -self._mixed(log_p.softmax(1), y / s)

    def drift(self, x: Tensor, c: Coefficients) -> Tensor:
        """Compute the drift (B, *shape), the velocity field that carries samples along in time."""
        y, s, log_p = self._parts(self._within(x), c)
        rate = (c.alpha_d_alpha + c.beta * c.d_beta * self.spread) / s
        moved = self._mixed(log_p.softmax(1), c.d_beta * self.shift + rate * y)
        return ((self.variance * moved) @ self.q.T).view_as(x)

    def _within(self, x: Tensor) -> Tensor:
        return (x - self.mean).flatten(1) @ self.q

    def _mixed(self, r: Tensor, parts: Tensor) -> Tensor:
        """Turn parts (B, K, d) of components back, and mix them by probabilities r (B, K)."""
        return (r[..., None] * parts).flatten(1) @ self.turn.T

    def _parts(self, xi: Tensor, c: Coefficients) -> tuple[Tensor, Tensor, Tensor]:
        """Compute y and S, like (B, K, d), and the log-densities of the components (B, K)."""
        alpha, beta = self._each(c.alpha), self._each(c.beta)
        y = (xi @ self.turn).view(len(xi), *self.shift.shape) - beta * self.shift
        s = alpha**2 + beta**2 * self.spread
        d = len(self.variance)
        volume = d / 2 * math.log(2 * math.pi) + self.variance.log().sum() / 2
        log_p = self.log_masses - (y.square() / s + s.log()).sum(-1) / 2 - volume
        return y, s, log_p

    @staticmethod
    def _each(value: Tensor) -> Tensor:
        return value[..., None] if value.dim() else value


def _eigen(base: Gaussian) -> tuple[Tensor, Tensor]:
    """Compute the eigenvalues (d,) and eigenvectors (d, d) of the base's covariance."""
    if isinstance(base.factor, Identity | Diagonal):  # an image's take 10 s otherwise
        deviation = base.factor.mul(torch.ones_like(base.mean)[None]).flatten()
        return deviation.square(), torch.ones_like(deviation).diag()
    variance, q = torch.linalg.eigh(base.covariance())
    return variance, q


Marginals: TypeAlias = GaussianMarginals | MixtureMarginals


def marginals_of(base: Gaussian | GaussianMixture) -> Marginals:
    """Make the energies at all times of data that are those of a base.

    Arguments:
        base: Gaussian, or mixture of Gaussians.

    Returns:
        A `GaussianMarginals`, or a `MixtureMarginals`.
    """
    return GaussianMarginals(base) if isinstance(base, Gaussian) else MixtureMarginals(base)
