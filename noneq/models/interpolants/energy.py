"""An energy that depends on time, ``U(x, t)``, learned from data by denoising score matching.

It is the energy of ``x_t = alpha(t) x_0 + beta(t) x_1``, with x_1 the data with noise, and x_0
drawn from a Gaussian of the data's mean m and covariance ``C = Q diag(lambda) Q^T``. If the data
were Gaussian, too, or a mixture of Gaussians, the energy U_0(x, t) would be known exactly
(`noneq.models.interpolants.marginals`). A network f adds the difference:
``U = U_0 + beta(t) f(x, t)``. While f = 0 log Z and exact samples of every U(., t) are known. As
x_0 is Gaussian, the drift (velocity field) b follows from the score ``-grad U``. With b_0 the
drift for U_0,

    ``b = b_0 - (alpha^2 beta' - alpha alpha' beta) C grad f``,

which has no singularity at either end. Derived in docs/mathematics.md. Sources: Vincent 2011; Song
and Ermon 2019 (arXiv 1907.05600).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noneq.energies import Cache, Gaussian, GaussianMixture, Solvable
from noneq.models.interpolants.marginals import marginals_of
from noneq.models.interpolants.path import DriftedPath, gradient_with_graph
from noneq.models.interpolants.schedules import Coefficients, Interpolant, Trigonometric

__all__ = ["EnergyPath", "TimedEnergy"]


class TimedEnergy(nn.Module):
    """Model an energy that depends on time, ``U(x, t) = U_0(x, t) + beta(t) f(x, t)``.

    U(., t) is learned as the energy of ``x_t = alpha(t) x_0 + beta(t) x_1``, with x_0 from a
    Gaussian of the data's mean and covariance, x_1 the data with noise, and alpha and beta
    known functions of t in [0, 1] that lead from x_0 at t = 0 to x_1 at t = 1. U_0 is the exact
    energy for data that are drawn from the base, a Gaussian or a mixture of Gaussians, and the
    network f adds the difference. A call with x alone returns ``U(x, 1)``, the energy of the noisy
    data.

    The eigenvectors of the covariance are computed once, in time O(d^3) for rows of d numbers, and
    stored as d^2 numbers; each call of `score_loss` multiplies the rows by them three times (3,072
    numbers: 7 s once on one core, then 0.1 s for 128 rows).

    Arguments:
        base: Gaussian with the mean and covariance of the noisy data, or a mixture of Gaussians
            fitted to them.
        net: network f, ``(B, *shape), (B,) -> (B,)``, of rows and times, e.g.
            `noneq.models.TimedMLP`.
        noise: standard deviation of the Gaussian noise added to the data, > 0; 0 if ``nearest``
            is positive.
        interpolant: functions alpha and beta, an `Interpolant` of ``noise=0``; default
            `Trigonometric`, where x_t has the data's covariance at every time.
        nearest: value of alpha, between 0 and 1, of the last time t < 1 at which scores are
            learned, see `score_loss`; 0: at all times.

    Attributes:
        marginals: the energies U_0(x, t), with ``q`` and ``variance``, the eigenvectors and
            eigenvalues of the covariance of the base.
        remedy: advice that `noneq.log_z` gives if the model has modes where there are no data.

    Raises:
        ValueError: the interpolant has noise, ``nearest`` is not in its range, or neither it nor
            ``noise`` is positive.
    """

    remedy = "more weight decay or more noise"

    def __init__(
        self,
        base: Gaussian | GaussianMixture,
        net: nn.Module,
        noise: float,
        interpolant: Interpolant | None = None,
        *,
        nearest: float = 0.0,
    ) -> None:
        super().__init__()
        self.interpolant = interpolant or Trigonometric()
        if self.interpolant.noise:
            raise ValueError("an energy is learned along an interpolant of noise=0")
        if not 0 <= nearest < 1:
            raise ValueError(f"`nearest` is a number from 0 and below 1, got {nearest}")
        if not noise > 0 and not nearest:
            raise ValueError(
                "score matching needs noise > 0 in the data: without it a density of points is "
                "learned"
            )
        self.base = base
        self.net = net
        self.noise = noise
        self.nearest = nearest
        self.marginals = marginals_of(base)

    @classmethod
    def fit(
        cls, x: Tensor, net: nn.Module, noise: float, interpolant: Interpolant | None = None
    ) -> TimedEnergy:
        """Make an energy to be trained by score matching, with a Gaussian base fitted to data.

        Arguments:
            x: rows (M, *shape) without noise.
            net: network f(x, t), ``(B, *shape), (B,) -> (B,)``, which learns the difference from
                the energy of Gaussian data.
            noise: standard deviation of the Gaussian noise added to the data, > 0.
            interpolant: functions of time that mix samples of the base with data, an `Interpolant`
                of ``noise=0``; default `Trigonometric`.

        Returns:
            The energy U(x, t), whose network is not trained yet.
        """
        return cls(Gaussian.fit(x, noise=noise), net, noise, interpolant)

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """Compute the energies ``U(x, t)`` of rows x at times t.

        Arguments:
            x: rows (B, *shape).
            t: times (B,) in [0, 1]; default 1, where U is the energy of the noisy data.

        Returns:
            The energies (B,), with their autograd graph to the parameters of the network.
        """
        t = torch.ones_like(x.flatten(1)[:, 0]) if t is None else t
        c = _columns(self.interpolant, t)
        f: Tensor = self.net(x, t)
        return self.marginals.energy(x, c) + c.beta[:, 0] * f

    def score_loss(self, x: Tensor, rng: torch.Generator, *, dropout: bool = True) -> Tensor:
        """Compute the denoising score matching loss, averaged over rows and coordinates.

        Each row x gets a time t and a noisy point ``x_t = alpha(t) x_0 + beta(t) (x + noise)``
        with x_0 from the Gaussian of the base's mean and covariance, and alpha and beta given by
        the interpolant. Times are uniform; if ``nearest`` is positive, ``sin(pi (1 - t) / 2)``,
        which is alpha for the `Trigonometric` interpolant, is log-uniform between ``nearest`` and
        1, so that fine structure is learned as well as coarse: the loss then nearly bounds the
        likelihood (Song, Durkan, Murray, Ermon 2021, arXiv 2101.09258). Given x, x_t is Gaussian;
        along the eigenvectors Q of the base's covariance, of eigenvalues lambda, its variance is
        ``V = alpha^2 lambda + beta^2 sd^2``, sd the standard deviation of the noise. The loss is
        the mean of ``|sqrt(V) Q^T s + zeta|^2``, with the score ``s = -dU/dx`` of the energy U at
        x_t and t, and zeta the standard normal numbers with which x_t was drawn along Q.

        Arguments:
            x: rows (B, *shape) without noise.
            rng: source of randomness.
            dropout: whether the network drops hidden units, if its attribute ``dropout`` is above
                0, e.g. `noneq.models.TimedMLP`; then it is called with ``rng`` as a third
                argument. Take False for the loss of held-out rows.

        Returns:
            The loss, 0-d, with its autograd graph to the parameters of the network.
        """
        t = torch.rand(len(x), generator=rng, dtype=x.dtype, device=x.device)
        if self.nearest:
            t = 1 - torch.asin(self.nearest**t) * (2 / torch.pi)
        c = _columns(self.interpolant, t)
        q, variance = self.marginals.q, self.marginals.variance
        zeta = torch.randn(x.flatten(1).shape, generator=rng, dtype=x.dtype, device=x.device)
        root = (c.alpha**2 * variance + c.beta**2 * self.noise**2).sqrt()
        xi = c.beta * ((x - self.marginals.mean).flatten(1) @ q) + root * zeta
        noisy = (xi @ q.T).view_as(x) + self.marginals.mean
        dropped = (rng,) if dropout and getattr(self.net, "dropout", None) else ()
        with torch.enable_grad():
            leaf = noisy.requires_grad_(True)
            f = self.net(leaf, t, *dropped)
            (g,) = torch.autograd.grad(f.sum(), leaf, create_graph=True)
        s = self.marginals.score(xi, c) - c.beta * (g.flatten(1) @ q)
        return (root * s + zeta).square().mean()

    def path_from(self, base: Solvable) -> EnergyPath | None:
        """Return the annealing path to this energy from the Gaussian base that it was made with.

        Arguments:
            base: energy at which the path shall start.

        Returns:
            The path of the energies U(., t), with t from 0 to 1; None if ``base`` is not the
            energy U(., 0), as a mixture is not.
        """
        return EnergyPath(self) if base is self.marginals.start else None


def _columns(interpolant: Interpolant, t: Tensor) -> Coefficients:
    """Return the coefficients at times t (B,) as columns (B, 1)."""
    return Coefficients(*(value[:, None] for value in interpolant.at(t)))


class EnergyPath(DriftedPath):
    """Connect the Gaussian start U(., 0) of a `TimedEnergy` to U(., 1) by the energies U(., t).

    The drift of the path is a velocity field b(x, t), which follows from the score ``-dU/dx``; the
    kernels `noneq.kernels.EulerMaruyama` and `noneq.kernels.Flow` carry weighted samples along it.

    Arguments:
        energy: energy U(x, t) that depends on time.

    Attributes:
        base: Gaussian with the energy U(., 0); if U_0 is that of a mixture, a `GaussianMixture` of
            one component.
    """

    base: Gaussian | GaussianMixture

    def __init__(self, energy: TimedEnergy) -> None:
        super().__init__(energy.marginals.start)
        self.energy = energy

    def fields(self, x: Tensor, t: float) -> tuple[Tensor, Cache]:
        """Compute the energies U(x, t), their gradients and the drift, a velocity field b(x, t).

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The energies (B,), and a dictionary of ``g``, the gradients dU/dx, and ``b``, the
            drift, both (B, *shape) and without an autograd graph.
        """
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(True)
            f = self.energy.net(leaf, x.new_full((len(x),), t))
            (df,) = torch.autograd.grad(f.sum(), leaf)
            leaf.requires_grad_(False)
        with torch.no_grad():
            c = self.energy.interpolant.at(t)
            u, g = self.energy.marginals.fields(x, c)
            return u + c.beta * f.detach(), {"g": g + c.beta * df, "b": self._drift(df, c, x)}

    def drift(self, x: Tensor, t: float) -> Tensor:
        """Compute the drift (velocity field) ``b(x, t)`` of the path, differentiable in x.

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The drift (B, *shape).
        """
        df = gradient_with_graph(lambda y: self.energy.net(y, y.new_full((len(y),), t)), x)
        assert df is not None
        return self._drift(df, self.energy.interpolant.at(t), x)

    def answer(self, y: Tensor, t: float) -> Tensor:
        """Compute how much the drift (velocity field) changes if ``t y`` is added to the score.

        Arguments:
            y: vectors (B, *shape), e.g. the gradients of a reward.
            t: time in [0, 1].

        Returns:
            The change of the drift (B, *shape).
        """
        return self.energy.interpolant.response(t)[0] * self._covary(y)

    def _drift(self, df: Tensor, c: Coefficients, x: Tensor) -> Tensor:
        return self.energy.marginals.drift(x, c) - c.lift * self._covary(df)

    def _covary(self, y: Tensor) -> Tensor:
        """Compute ``C y``, at the cost of the factor of the base's covariance."""
        return self.base.factor.mul(self.base.factor.t_mul(y))
