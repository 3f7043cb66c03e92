"""Stochastic interpolants: ``x_t = alpha(t) x_0 + beta(t) x_1 + gamma(t) z``, z standard normal.

``x_0 ~ rho_0`` and ``x_1 ~ rho_1``, drawn independently or coupled; ``alpha(0) = beta(1) = 1`` and
``alpha(1) = beta(0) = gamma(0) = gamma(1) = 0``. Primes are time derivatives. The density rho_t of
x_t is transported by the drift

    ``b(x, t) = E[dx_t/dt | x_t = x] = v(x, t) - gamma gamma' s(x, t)``,
    ``v = E[alpha' x_0 + beta' x_1 | x_t = x]``,  ``s = grad log rho_t = -E[z | x_t = x] / gamma``

and the velocity v and the denoiser ``eta = E[z | x_t]`` each minimise a least-squares loss: what a
network learns has no singularity, although ``gamma'`` is infinite at both ends. Source: Albergo,
Boffi, Vanden-Eijnden 2023 (arXiv 2303.08797).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Bridge",
    "Coefficients",
    "Interpolant",
    "Linear",
    "Trigonometric",
    "VariancePreserving",
    "couple",
]

_STEEP = 10.0  # slopes of alpha


class Coefficients(NamedTuple):
    """Hold the coefficients of ``x_t = alpha x_0 + beta x_1 + gamma z`` at times t in [0, 1].

    Here x_0 is a sample of the density at t = 0, x_1 of that at t = 1, z is standard normal, and
    primes are time derivatives. All have the shape of t, and are finite at t = 0 and t = 1.

    Attributes:
        alpha: factor of x_0.
        beta: factor of x_1.
        gamma: factor of z.
        d_alpha: derivative ``alpha'``.
        d_beta: derivative ``beta'``.
        alpha_d_alpha: ``alpha alpha'``, half the derivative of ``alpha^2``.
        gamma_d_gamma: ``gamma gamma'``, half the derivative of ``gamma^2``.
    """

    alpha: Tensor
    beta: Tensor
    gamma: Tensor
    d_alpha: Tensor
    d_beta: Tensor
    alpha_d_alpha: Tensor
    gamma_d_gamma: Tensor

    @property
    def width(self) -> Tensor:
        """Return ``alpha^2 + beta^2`` at each time, the variance of ``alpha x_0 + beta x_1``.

        This holds for independent x_0 and x_1 of variance 1. The shape is that of the times t.
        """
        return self.alpha**2 + self.beta**2

    @property
    def lift(self) -> Tensor:
        """Return ``alpha^2 beta' - alpha alpha' beta`` at each time, a factor of the score.

        For ``x_t = alpha x_0 + beta x_1`` with x_0 from ``N(m_0, C_0)``, the drift (velocity
        field) is ``b = alpha' m_0 + (beta'/beta) (x - alpha m_0) + (lift / beta) C_0 s``, with s
        the score of x_t and primes for time derivatives.
        """
        return self.alpha**2 * self.d_beta - self.alpha_d_alpha * self.beta


class Bridge(NamedTuple):
    """Hold points ``x_t = alpha(t) x_0 + beta(t) x_1 + gamma(t) z`` between rows x_0 and x_1.

    A velocity field ``v = E[alpha' x_0 + beta' x_1 | x_t]`` and a denoiser ``eta = E[z | x_t]``
    are learned from these points by least squares.

    Attributes:
        t: times (B,).
        x: points x_t (B, *shape).
        velocity: time derivatives ``alpha' x_0 + beta' x_1`` (B, *shape), the targets of v.
        z: standard normal numbers (B, *shape), the targets of eta.
    """

    t: Tensor
    x: Tensor
    velocity: Tensor
    z: Tensor

    def velocity_loss(self, v: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Return the loss (0-d) of a velocity field ``v: (B, *shape), (B,) -> (B, *shape)``.

        It is the mean over rows of ``|v(x_t, t) - (alpha' x_0 + beta' x_1)|^2``, where the points
        are ``x_t = alpha x_0 + beta x_1 + gamma z`` and primes are time derivatives.

        Raises:
            ValueError: v returns another shape.
        """
        return _square(v(self.x, self.t), self.velocity)

    def denoiser_loss(self, eta: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Return the loss (0-d) of a denoiser ``eta: (B, *shape), (B,) -> (B, *shape)``.

        It is the mean over rows of ``|eta(x_t, t) - z|^2``, z the noise in the points x_t.

        Raises:
            ValueError: eta returns another shape.
        """
        return _square(eta(self.x, self.t), self.z)


def _square(found: Tensor, wanted: Tensor) -> Tensor:
    if found.shape != wanted.shape:
        raise ValueError(
            f"a field is a vector at every row: of shape {tuple(wanted.shape)} for rows of that "
            f"shape, got {tuple(found.shape)}"
        )
    return (found - wanted).square().flatten(1).sum(1).mean()


@dataclass(frozen=True)
class Interpolant(ABC):
    """Base class of interpolants ``x_t = alpha(t) x_0 + beta(t) x_1 + gamma(t) z``, t in [0, 1].

    Rows x_0 are drawn from the density at t = 0 and x_1 from that at t = 1, z is standard normal
    and ``gamma = noise sqrt(t (1 - t))``. Subclasses define alpha, which falls from 1 to 0, and
    beta, which rises from 0 to 1.

    Arguments:
        noise: factor of gamma, 0 or more; 0 suffices where x_0 itself is Gaussian.
    """

    noise: float = 0.0

    def __post_init__(self) -> None:
        if not self.noise >= 0:
            raise ValueError(f"the noise of an interpolant is 0 or more, got {self.noise}")

    @abstractmethod
    def _ends(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """``alpha, beta, alpha', beta', alpha alpha'``."""

    def at(self, t: Tensor | float) -> Coefficients:
        """Compute alpha, beta, gamma and their derivatives at times t.

        Arguments:
            t: times in [0, 1], a tensor of any shape or a float.

        Returns:
            The coefficients, tensors of the shape of t; 0-d and float64 for a float.
        """
        if not isinstance(t, Tensor):
            t = torch.tensor(t, dtype=torch.float64, device="cpu")  # 0-d: goes with any device
        alpha, beta, d_alpha, d_beta, product = self._ends(t)
        gamma = self.noise * (t * (1 - t)).clamp(min=0.0).sqrt()
        change = self.noise**2 * (1 - 2 * t) / 2
        return Coefficients(alpha, beta, gamma, d_alpha, d_beta, product, change)

    def response(self, t: float) -> tuple[float, float]:
        """Compute p and q: adding ``t y`` to the score adds ``p C_0 y + q y`` to the drift.

        Here y is any vector. On a path whose start x_0 is from ``N(m_0, C_0)`` the drift (velocity
        field) follows from the score of ``x_t = alpha x_0 + beta x_1 + gamma z``, with

            ``p = t (alpha^2 beta' - alpha alpha' beta) / beta``,
            ``q = t (gamma^2 beta' - gamma gamma' beta) / beta``,

        and p = 1, q = 0 at t = 0; primes are time derivatives. Derived in docs/mathematics.md.

        Arguments:
            t: time in [0, 1].

        Returns:
            The two numbers p and q.
        """
        c = self.at(t)
        over = t / float(c.beta) if t > 0 else 1 / float(c.d_beta)
        own = c.gamma**2 * c.d_beta - c.gamma_d_gamma * c.beta
        return over * float(c.lift), over * float(own)

    def draw(
        self, x0: Tensor, x1: Tensor, rng: torch.Generator, *, t: Tensor | None = None
    ) -> Bridge:
        """Draw a point ``alpha(t) x_0 + beta(t) x_1 + gamma(t) z`` between each pair of rows.

        Arguments:
            x0: rows x_0 drawn from the density at t = 0 (B, *shape).
            x1: rows x_1 drawn from the density at t = 1 (B, *shape).
            rng: source of randomness.
            t: times (B,) in [0, 1]; default uniformly random.

        Returns:
            The points with their times and the standard normal numbers z, from which velocity
            fields and denoisers are learned.

        Raises:
            ValueError: x0 and x1 differ in shape.
        """
        if x0.shape != x1.shape:
            raise ValueError(
                f"rows come in pairs: x0 has shape {tuple(x0.shape)}, x1 {tuple(x1.shape)}"
            )
        if t is None:
            t = torch.rand(len(x1), generator=rng, dtype=x1.dtype, device=x1.device)
        z = torch.randn(x1.shape, generator=rng, dtype=x1.dtype, device=x1.device)
        c = Coefficients(*(value.view(-1, *[1] * (x1.dim() - 1)) for value in self.at(t)))
        x = c.alpha * x0 + c.beta * x1 + c.gamma * z
        return Bridge(t, x, c.d_alpha * x0 + c.d_beta * x1, z)


class Linear(Interpolant):
    """Interpolate by ``x_t = (1 - t) x_0 + t x_1 + noise sqrt(t (1 - t)) z``, z standard normal.

    Here x_0 and x_1 are samples of the densities at t = 0 and t = 1.

    Arguments:
        noise: factor of the random numbers z, 0 or more; default 0.

    >>> bridge = Linear().draw(torch.randn(8, 2), torch.randn(8, 2), torch.Generator())
    >>> tuple(bridge.x.shape), float(bridge.velocity_loss(lambda x, t: bridge.velocity))
    ((8, 2), 0.0)
    """

    def _ends(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        one = torch.ones_like(t)
        return 1 - t, t, -one, one, t - 1


class Trigonometric(Interpolant):
    """Interpolate by ``x_t = cos(pi t / 2) x_0 + sin(pi t / 2) x_1 + noise sqrt(t (1 - t)) z``.

    Here x_0 and x_1 are samples of the densities at t = 0 and t = 1, and z is standard normal. If
    x_0 and x_1 are independent and have the same covariance, and ``noise`` is 0, so has x_t at any
    time.

    Arguments:
        noise: factor of the random numbers z, 0 or more; default 0.
    """

    def _ends(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        k = torch.pi / 2
        sin, cos = (k * t).sin(), (k * (1 - t)).sin()  # exactly 0 at the end, unlike cos(pi/2)
        return cos, sin, -k * sin, k * cos, -k * sin * cos


class VariancePreserving(Interpolant):
    """Interpolate by ``x_t = sqrt(1 - t^2) x_0 + t x_1 + noise sqrt(t (1 - t)) z``.

    Here x_0 and x_1 are samples of the densities at t = 0 and t = 1, and z is standard normal.
    Without noise these are the points of a variance-preserving diffusion. The derivative of
    ``sqrt(1 - t^2)`` is infinite at t = 1 and its size is bounded by 10 here, which matters only
    if the mean of x_0 is not 0.

    Arguments:
        noise: factor of the random numbers z, 0 or more; default 0.
    """

    def _ends(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        alpha = (1 - t.square()).clamp(min=0.0).sqrt()
        return alpha, t, -t / alpha.clamp(min=1 / _STEEP), torch.ones_like(t), -t


def couple(x0: Tensor, x1: Tensor) -> Tensor:
    """Reorder the rows of x1 so that ``sum_i |x0_i - x1_i|^2`` is least (optimal transport).

    The straight lines between pairs then cross less, so that samples need fewer steps along the
    learned velocity field. The densities of x_0 and of x_1 stay the same, but x_0 and x_1 are no
    longer independent, so that the score of a `VelocityPath` without denoiser is not exact
    (weights stay exact). Sources: Pooladian et al. 2023 (arXiv 2304.14772); Tong et al. 2023
    (arXiv 2302.00482).

    Arguments:
        x0: rows drawn from the density at t = 0 (B, *shape).
        x1: rows drawn from the density at t = 1 (B, *shape); the computing time grows as B^3.

    Returns:
        The rows of x1 in their new order (B, *shape).

    Raises:
        ValueError: x0 and x1 differ in the number of rows.
    """
    from scipy.optimize import linear_sum_assignment

    if len(x0) != len(x1):
        raise ValueError(f"as many rows are coupled as there are, got {len(x0)} and {len(x1)}")
    ends = x1.detach().flatten(1)
    # all of |x0 - x1|^2 that depends on who is paired; the solver is faster without the rest
    cost = -(x0.detach().flatten(1) @ (ends - ends.mean(0)).T)
    _, partner = linear_sum_assignment(cost.cpu().numpy())
    return x1[torch.from_numpy(partner).to(x1.device)]
