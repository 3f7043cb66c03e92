r"""An energy that depends on time, ``U(x, t)``, learned from data by denoising score matching.

In the eigenbasis of the data's covariance, ``C = Q diag(lambda) Q^T`` (noise included), and with
``xi = Q^T (x - m)``, the interpolant between two Gaussians of covariance C has the energy

    ``U_G(x, t) = sum_i [xi_i^2 / S_i + log(S_i / lambda_i)] / 2``,
    ``S = (alpha^2 + beta^2) lambda``.

A network f adds the difference of the data from a Gaussian: ``U = U_G + beta(t) f(x, t)``. While
f = 0 every U(., t) is solvable. As x_0 is Gaussian, the drift follows from the score
``s = -grad U``,

    ``b = b_G - (alpha^2 beta' - alpha alpha' beta) C grad f``,

without a singularity at either end. Derived in docs/mathematics.md. Sources: Vincent 2011; Song
and Ermon 2019 (arXiv 1907.05600).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noneq.energies import Cache, Gaussian, Solvable, evaluate
from noneq.models.interpolants.path import DriftedPath, gradient_with_graph
from noneq.models.interpolants.schedules import Coefficients, Interpolant, Trigonometric

__all__ = ["EnergyPath", "TimedEnergy"]


class TimedEnergy(nn.Module):
    """Model an energy that depends on time, ``U(x, t) = U_G(x, t) + beta(t) f(x, t)``.

    U(., t) is learned as the energy of ``x_t = alpha(t) x_0 + beta(t) x_1``, with x_0 from a
    Gaussian base of the data's mean and covariance, and x_1 the data with noise. U_G is the exact
    energy for data that are Gaussian themselves, and the network f adds the difference. A call
    with x alone returns ``U(x, 1)``, the energy of the noisy data.

    `score_loss` needs all eigenvectors of the covariance: O(d^3) time once, d^2 numbers, and three
    products of the rows with them (d = 3,072: 7 s on one core; 0.1 s for 128 rows).

    Arguments:
        base: Gaussian with the mean and covariance of the noisy data.
        net: network f, ``(B, *shape), (B,) -> (B,)``, e.g. `noneq.models.TimedMLP`.
        noise: standard deviation of the Gaussian noise added to the data, > 0.
        interpolant: functions alpha and beta, an interpolant of ``noise=0``; default
            `Trigonometric`, where x_t has the data's covariance at every time.

    Attributes:
        q: eigenvectors of the covariance of the base (d, d).
        variance: eigenvalues of the covariance of the base (d,).
        remedy: advice against spurious modes, for the messages of `noneq.log_z`.

    Raises:
        ValueError: the interpolant has noise, or the data have none.
    """

    q: Tensor
    variance: Tensor
    remedy = "more weight decay or more noise"

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
        """Make an energy to be trained, with a Gaussian base fitted to data.

        Arguments:
            x: rows (M, *shape) without noise.
            net: network f, ``(B, *shape), (B,) -> (B,)``.
            noise: standard deviation of the Gaussian noise added to the data, > 0.
            interpolant: interpolant of ``noise=0``; default `Trigonometric`.

        Returns:
            The energy.
        """
        return cls(Gaussian.fit(x, noise=noise), net, noise, interpolant)

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """Return ``U(x, t)`` (B,) at rows x (B, *shape) and times t (B,); t defaults to 1."""
        t = torch.ones_like(x.flatten(1)[:, 0]) if t is None else t
        c = self.interpolant.at(t)
        f: Tensor = self.net(x, t)
        return self._gaussian(self.base(x), c) + c.beta * f

    def score_loss(self, x: Tensor, rng: torch.Generator) -> Tensor:
        r"""Compute the denoising score matching loss, averaged over rows and coordinates.

        Times t are uniform. Given a row x, the noisy x_t is Gaussian; along the eigenvectors Q of
        the covariance, of eigenvalues lambda, its variance is ``V = alpha^2 lambda + beta^2
        noise^2``. The loss is the mean of ``|sqrt(V) Q^T s + zeta|^2``, with the score
        ``s = -dU/dx`` at x_t, and zeta the standard normal numbers with which x_t was drawn.

        Arguments:
            x: rows (B, *shape) without noise.
            rng: source of randomness.

        Returns:
            The loss, 0-d, with its graph to the parameters of the network.
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
        """Return the path from ``base`` to this energy, or None if it has another base."""
        return EnergyPath(self) if base is self.base else None

    def _within(self, x: Tensor) -> Tensor:
        return (x - self.base.mean).flatten(1) @ self.q

    def _spread(self, c: Coefficients) -> Tensor:
        return c.width * self.variance

    def _gaussian(self, u: Tensor, c: Coefficients) -> Tensor:
        """Compute ``U_G(x, t)`` from the base's energies u at x."""
        return u / c.width + len(self.variance) / 2 * c.width.log()


class EnergyPath(DriftedPath):
    """Connect the base of a `TimedEnergy` U(x, t) at t = 0 to U(., 1) by the energies U(., t).

    The velocity field b(x, t) of the path, along which `noneq.kernels.EulerMaruyama` and
    `noneq.kernels.Flow` carry walkers, follows from the score ``-dU/dx``.

    Arguments:
        energy: energy that depends on time.

    Attributes:
        base: Gaussian base of the energy.
    """

    base: Gaussian

    def __init__(self, energy: TimedEnergy) -> None:
        super().__init__(energy.base)
        self.energy = energy

    def fields(self, x: Tensor, t: float) -> tuple[Tensor, Cache]:
        """Compute ``U(x, t)`` (B,), and a cache of its gradient ``g`` and the drift ``b``."""
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
        """Compute the drift ``b(x, t)`` (B, *shape), differentiable in x."""
        df = gradient_with_graph(lambda y: self.energy.net(y, y.new_full((len(y),), t)), x)
        assert df is not None
        return self._drift(df, self.energy.interpolant.at(t), x)

    def answer(self, y: Tensor, t: float) -> Tensor:
        """Return how the drift b changes (B, *shape) if ``t y`` is added to the score."""
        return self.energy.interpolant.response(t)[0] * self._covary(y)

    def _drift(self, df: Tensor, c: Coefficients, x: Tensor) -> Tensor:
        rate = (c.alpha_d_alpha + c.beta * c.d_beta) / c.width  # of the Gaussian's
        return rate * (x - self.base.mean) - c.lift * self._covary(df)

    def _covary(self, y: Tensor) -> Tensor:
        """Compute ``C y``, at the cost of the factor of the base's covariance."""
        return self.base.factor.mul(self.base.factor.t_mul(y))
