r"""One energy for all times, ``U(x, t)``, learned from data by denoising score matching.

In the eigenbasis of the data's covariance, ``C = Q diag(lambda) Q^T`` (noise included), and with
``xi = Q^T (x - m)`` the interpolant between two Gaussians of that covariance has the energy

    ``U_G(x, t) = sum_i [xi_i^2 / S_i + log(S_i / lambda_i)] / 2``,
    ``S = (alpha^2 + beta^2) lambda``

and what the data are besides is a network's: ``U = U_G + beta(t) f(x, t)``. With f = 0 at first
every U(., t) is solvable. As x_0 is Gaussian, the drift follows from the score, ``s = -grad U``:

    ``b = b_G - (alpha^2 beta' - alpha alpha' beta) C grad f``

without a singularity at either end. Derived in docs/mathematics.md; score matching with noise:
Vincent 2011; Song and Ermon 2019 (arXiv 1907.05600).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noneq.energies import Cache, Gaussian, Solvable, evaluate
from noneq.models.interpolants.path import DriftedPath, gradient_with_graph
from noneq.models.interpolants.schedules import Coefficients, Interpolant, Trigonometric

__all__ = ["EnergyPath", "TimedEnergy"]


class TimedEnergy(nn.Module):
    """``U(x, t) = U_G(x, t) + beta(t) f(x, t)``; called with x alone it is ``U(x, 1)``.

    Arguments:
        base: the Gaussian that the data's mean and covariance, noise included, are of.
        net: f, ``(B, *shape), (B,) -> (B,)``; `noneq.models.TimedMLP`.
        noise: standard deviation of the Gaussian noise that the data have added: what is
            learned is the density of the noisy data.
        interpolant: without noise of its own; default `Trigonometric`, along which a Gaussian of
            the data's covariance stays as it is.

    Energies and fields cost what the base's factor does. `score_loss` needs all eigenvectors of
    its covariance, whatever the factor: O(d^3) once, d^2 numbers, and 3 products of the rows with
    them (d = 3,072: 7 s of a core, 0.3 GB for a moment and 38 MB to keep; 0.1 s for 128 rows).

    Raises ValueError for an interpolant with noise, or no noise in the data.
    """

    q: Tensor
    variance: Tensor
    remedy = "more weight decay or more noise"
    """of a spurious mode, for the alarms of `noneq.log_z`: score matching knows no tau"""

    def __init__(
        self,
        base: Gaussian,
        net: nn.Module,
        noise: float,
        interpolant: Interpolant | None = None,
    ) -> None:
        super().__init__()
        self.interpolant = interpolant or Trigonometric()
        if self.interpolant.noise:
            raise ValueError("an energy is learned along an interpolant of noise=0")
        if not noise > 0:
            raise ValueError(
                "score matching needs noise > 0 in the data: without it a density of points is "
                "learned"
            )
        self.base = base
        self.net = net
        self.noise = noise
        variance, q = torch.linalg.eigh(base.covariance())
        self.register_buffer("q", q.to(base.mean))
        self.register_buffer("variance", variance.to(base.mean))

    @classmethod
    def fit(
        cls, x: Tensor, net: nn.Module, noise: float, interpolant: Interpolant | None = None
    ) -> TimedEnergy:
        """Between Gaussians of the mean and covariance of the rows of x and of their noise."""
        return cls(Gaussian.fit(x, noise=noise), net, noise, interpolant)

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """``U(x, t)`` at times t (B,), of all rows 1 without."""
        t = torch.ones_like(x.flatten(1)[:, 0]) if t is None else t
        c = self.interpolant.at(t)
        f: Tensor = self.net(x, t)
        return self._gaussian(self.base(x), c) + c.beta * f

    def score_loss(self, x: Tensor, rng: torch.Generator) -> Tensor:
        r"""Denoising score matching at uniform times, per number of a row.

        Given a row x_1, the noisy x_t is Gaussian of variance ``V = alpha^2 lambda + beta^2
        noise^2`` along the eigenvectors; with zeta what was drawn there, ``mean |sqrt(V) Q^T s +
        zeta|^2``.
        """
        t = torch.rand(len(x), generator=rng, dtype=x.dtype, device=x.device)
        c = Coefficients(*(value[:, None] for value in self.interpolant.at(t)))
        zeta = torch.randn(x.flatten(1).shape, generator=rng, dtype=x.dtype, device=x.device)
        root = (c.alpha**2 * self.variance + c.beta**2 * self.noise**2).sqrt()
        xi = c.beta * self._within(x) + root * zeta
        noisy = (xi @ self.q.T).view_as(x) + self.base.mean
        with torch.enable_grad():
            leaf = noisy.requires_grad_(True)
            (g,) = torch.autograd.grad(self.net(leaf, t).sum(), leaf, create_graph=True)
        s = -xi / self._spread(c) - c.beta * (g.flatten(1) @ self.q)
        return (root * s + zeta).square().mean()

    def path_from(self, base: Solvable) -> EnergyPath | None:
        """The way there by U(x, t), from its own base."""
        return EnergyPath(self) if base is self.base else None

    def _within(self, x: Tensor) -> Tensor:
        return (x - self.base.mean).flatten(1) @ self.q

    def _spread(self, c: Coefficients) -> Tensor:
        return c.width * self.variance

    def _gaussian(self, u: Tensor, c: Coefficients) -> Tensor:
        """``U_G(x, t)`` of rows of which the base's energies are u."""
        return u / c.width + len(self.variance) / 2 * c.width.log()


class EnergyPath(DriftedPath):
    """From the base of a `TimedEnergy` to ``U(., 1)``."""

    base: Gaussian

    def __init__(self, energy: TimedEnergy) -> None:
        super().__init__(energy.base)
        self.energy = energy

    def fields(self, x: Tensor, t: float) -> tuple[Tensor, Cache]:
        """``U(x, t)``, its gradient and the drift."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(True)
            f = self.energy.net(leaf, x.new_full((len(x),), t))
            (df,) = torch.autograd.grad(f.sum(), leaf)
            leaf.requires_grad_(False)
        with torch.no_grad():
            c = self.energy.interpolant.at(t)
            u, base = evaluate(self.base, x)
            u = self.energy._gaussian(u, c) + c.beta * f.detach()
            return u, {"g": base["g"] / c.width + c.beta * df, "b": self._drift(df, c, x)}

    def drift(self, x: Tensor, t: float) -> Tensor:
        """``b(x, t)``."""
        df = gradient_with_graph(lambda y: self.energy.net(y, y.new_full((len(y),), t)), x)
        assert df is not None
        return self._drift(df, self.energy.interpolant.at(t), x)

    def answer(self, y: Tensor, t: float) -> Tensor:
        """The change of b where the score changes by ``t y``."""
        return self.energy.interpolant.response(t)[0] * self._covary(y)

    def _drift(self, df: Tensor, c: Coefficients, x: Tensor) -> Tensor:
        rate = (c.alpha_d_alpha + c.beta * c.d_beta) / c.width  # of the Gaussian's
        return rate * (x - self.base.mean) - c.lift * self._covary(df)

    def _covary(self, y: Tensor) -> Tensor:
        """``C y``, as cheap as the base's factor is."""
        return self.base.factor.mul(self.base.factor.t_mul(y))
