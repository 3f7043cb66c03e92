r"""Smooth densities on R^d whose log Z, mean and exact samples are known; few are symmetric.

Symmetry would hide wrong signs. A `Target` holds the known numbers beside the energy. The energy
alone is a plain function, so that `noneq.log_z` has to estimate log Z:

>>> import torch, noneq
>>> target = noneq.testing.banana()
>>> base = noneq.Gaussian(torch.zeros(2), noneq.energies.Identity(1.6))
>>> found = noneq.log_z(target.energy, base, n=512, temperatures=100)
>>> abs(found.value - target.log_z) < 0.2
True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noneq.energies import Energy, GaussianMixture

__all__ = [
    "Target", "banana", "correlated", "funnel", "logistic", "mixture", "neal", "parabola",
    "skewed", "student", "two_modes",
]  # fmt: skip

LOG_2_PI = math.log(2 * math.pi)
Sampler = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Target:
    """Hold an energy with its exact log Z, mean and sampler, to test estimates against.

    Attributes:
        energy: energy U of B states, each of shape ``shape``: a function ``(B, *shape) -> (B,)``
            whose result has the dtype of the states.
        log_z: logarithm of the integral (for discrete states, of the sum) of ``exp(-U)``.
        mean: mean of the density ``exp(-U) / Z``, of shape ``shape``, float64.
        sample: function of a number n and a generator ``rng``, which returns n exact independent
            samples (n, *shape), float64.
    """

    energy: Energy
    log_z: float
    mean: Tensor
    sample: Sampler


def _normal(rng: torch.Generator, *size: int) -> Tensor:
    return torch.randn(*size, generator=rng, dtype=torch.float64)


def _uniform(rng: torch.Generator, *size: int) -> Tensor:
    """Draw uniform numbers in (0, 1), neither end included."""
    return torch.rand(*size, generator=rng, dtype=torch.float64).clamp(1e-15, 1 - 1e-15)


def _vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def two_modes(left: float = 0.7) -> Target:
    r"""Make a mixture of two Gaussians on R, of unequal mass and width.

    ``p = left N(-1.2, 0.6^2) + (1 - left) N(1.5, 0.5^2)``; ``Z = sqrt(2 pi)``.

    Arguments:
        left: probability of the Gaussian at -1.2, in (0, 1).

    Returns:
        A `Target`: energy (B, 1) -> (B,), with its exact log Z, mean (1,) and sampler.
    """

    def energy(x: Tensor) -> Tensor:
        a = math.log(left / 0.6) - ((x[:, 0] + 1.2) / 0.6).square() / 2
        b = math.log((1 - left) / 0.5) - ((x[:, 0] - 1.5) / 0.5).square() / 2
        return -torch.logaddexp(a, b)

    def sample(n: int, rng: torch.Generator) -> Tensor:
        z, side = _normal(rng, n, 1), _uniform(rng, n, 1) < left
        return torch.where(side, 0.6 * z - 1.2, 0.5 * z + 1.5)

    return Target(energy, LOG_2_PI / 2, _vector(1.5 - 2.7 * left), sample)


def skewed() -> Target:
    r"""Make a skewed density on R, ``U = 4 log(1 + e^x) - x``, whose left tail is the longer one.

    ``Z = 1/3``, and the number ``1/(1 + e^-x)`` has the distribution Beta(1, 3).

    Returns:
        A `Target`: energy (B, 1) -> (B,), with its exact log Z, mean (1,) and sampler.
    """

    def energy(x: Tensor) -> Tensor:
        return 4 * nn.functional.softplus(x[:, 0]) - x[:, 0]

    def sample(n: int, rng: torch.Generator) -> Tensor:
        return (1 - _uniform(rng, n, 1) ** (1 / 3)).logit()

    return Target(energy, -math.log(3.0), _vector(-1.5), sample)


def correlated() -> Target:
    """Make a Gaussian on R^2: mean (0.7, -0.4), standard deviations (1, 0.6), correlation 0.8.

    Returns:
        A `Target`: energy (B, 2) -> (B,), with its exact log Z, mean (2,) and sampler.
    """

    def energy(x: Tensor) -> Tensor:
        a, b = x[:, 0] - 0.7, (x[:, 1] + 0.4) / 0.6
        return (a.square() - 1.6 * a * b + b.square()) / (2 * (1 - 0.8**2))

    def sample(n: int, rng: torch.Generator) -> Tensor:
        z, mean = _normal(rng, n, 2), _vector(0.7, -0.4)
        return mean + torch.stack([z[:, 0], 0.6 * (0.8 * z[:, 0] + 0.6 * z[:, 1])], 1)

    return Target(energy, LOG_2_PI + math.log(0.6 * 0.6), _vector(0.7, -0.4), sample)


def _ridge(a: Tensor) -> Tensor:
    return 1.3 * (1 + a.square()).sqrt() - 1.5


def banana() -> Target:
    r"""Make a banana-shaped density of (a, b) in R^2, whose energy gradient grows only linearly.

    ``U = (a - 0.5)^2 / 2 + (b - r(a))^2 / (2 0.8^2)``, ``r(a) = 1.3 sqrt(1 + a^2) - 1.5``.

    Returns:
        A `Target`: energy (B, 2) -> (B,), with its exact log Z, mean (2,) and sampler.
    """

    def energy(x: Tensor) -> Tensor:
        return (x[:, 0] - 0.5).square() / 2 + (x[:, 1] - _ridge(x[:, 0])).square() / (2 * 0.8**2)

    def sample(n: int, rng: torch.Generator) -> Tensor:
        z = _normal(rng, n, 2)
        return torch.stack([z[:, 0] + 0.5, _ridge(z[:, 0] + 0.5) + 0.8 * z[:, 1]], 1)

    at, weight = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(150))
    height = float((weight * _ridge(at + 0.5)).sum() / weight.sum())
    return Target(energy, LOG_2_PI + math.log(0.8), _vector(0.5, height), sample)


def funnel() -> Target:
    """Make a mild funnel of (v, b) in R^2: v from N(0.4, 1), b from N(0.5, e^{1.2 v}) given v.

    Returns:
        A `Target`: energy (B, 2) -> (B,), with its exact log Z, mean (2,) and sampler.
    """

    def energy(x: Tensor) -> Tensor:
        neck = 0.6 * x[:, 0]  # log of the width
        return ((x[:, 0] - 0.4).square() / 2 + neck) + (
            (x[:, 1] - 0.5).square() * (-2 * neck).exp() / 2
        )

    def sample(n: int, rng: torch.Generator) -> Tensor:
        z = _normal(rng, n, 2)
        v = z[:, 0] + 0.4
        return torch.stack([v, 0.5 + (0.6 * v).exp() * z[:, 1]], 1)

    return Target(energy, LOG_2_PI, _vector(0.4, 0.5), sample)


def neal(dim: int = 2, width: float = 1.5, centre: float = 0.0) -> Target:
    r"""Make Neal's funnel (2003) of (v, x): v from N(centre, width^2), each x_i from N(0, e^v).

    ``U = (v - centre)^2 / (2 width^2) + |x|^2 e^-v / 2 + (dim - 1) v / 2`` and
    ``Z = (2 pi)^(dim / 2) width``.

    Arguments:
        dim: number d of coordinates, v included, which is the first of them.
        width: standard deviation of v.
        centre: mean of v.

    Returns:
        A `Target`: energy (B, d) -> (B,), with its exact log Z, mean (d,) and sampler.
    """

    def energy(x: Tensor) -> Tensor:
        v = x[:, 0]
        rest = x[:, 1:].square().sum(1)
        return (
            (v - centre).square() / (2 * width**2) + rest * torch.exp(-v) / 2 + (dim - 1) / 2 * v
        )

    def sample(n: int, rng: torch.Generator) -> Tensor:
        z = _normal(rng, n, dim)
        v = centre + width * z[:, :1]
        return torch.cat([v, (v / 2).exp() * z[:, 1:]], 1)

    mean = _vector(centre, *[0.0] * (dim - 1))
    return Target(energy, dim / 2 * LOG_2_PI + math.log(width), mean, sample)


def parabola(thickness: float = 0.3) -> Target:
    """Make a density of (a, b) in R^2 along the parabola ``b = a^2 / 2``, and thin across it.

    ``U = (a - 1)^2 / 2 + (b - a^2 / 2)^2 / (2 thickness^2)``, and ``Z = 2 pi thickness``.

    Arguments:
        thickness: standard deviation of b about the parabola.

    Returns:
        A `Target`: energy (B, 2) -> (B,), with its exact log Z, mean (2,) and sampler.
    """

    def energy(x: Tensor) -> Tensor:
        a, b = x[:, 0], x[:, 1]
        return (a - 1) ** 2 / 2 + (b - a * a / 2) ** 2 / (2 * thickness**2)

    def sample(n: int, rng: torch.Generator) -> Tensor:
        z = _normal(rng, n, 2)
        a = z[:, 0] + 1
        return torch.stack([a, a * a / 2 + thickness * z[:, 1]], 1)

    return Target(energy, LOG_2_PI + math.log(thickness), _vector(1.0, 1.0), sample)


def logistic(shapes: Sequence[float] = (4.0, 0.5)) -> Target:
    r"""Make a product of d generalised logistic densities, with shape parameter a_i for x_i.

    ``U = sum_i x_i + (a_i + 1) log(1 + e^-x_i)``, ``Z = prod_i 1 / a_i``; the mean of x_i is
    ``psi(a_i) - psi(1)``, psi the digamma function.

    Arguments:
        shapes: d shape parameters a_i > 0; above 1 the right tail is longer, below 1 the left.

    Returns:
        A `Target`: energy (B, d) -> (B,), with its exact log Z, mean (d,) and sampler.
    """
    a = _vector(*shapes)

    def energy(x: Tensor) -> Tensor:
        return (x + (a + 1).to(x) * nn.functional.softplus(-x)).sum(-1)

    def sample(n: int, rng: torch.Generator) -> Tensor:
        return -torch.expm1(-_uniform(rng, n, len(a)).log() / a).log()

    mean = torch.digamma(a) - torch.digamma(torch.ones_like(a))
    return Target(energy, -float(a.log().sum()), mean, sample)


def student(dim: int = 2, freedom: float = 5.0) -> Target:
    r"""Make a Student t density on R^d, ``U = (nu + d) / 2 log(1 + |x|^2 / nu)``: heavy tails.

    ``Z = (nu pi)^(d / 2) Gamma(nu / 2) / Gamma((nu + d) / 2)``; the mean is 0, NaN for nu <= 1.

    Arguments:
        dim: dimension d of x.
        freedom: degrees of freedom nu > 0.

    Returns:
        A `Target`: energy (B, d) -> (B,), with its exact log Z, mean (d,) and sampler.
    """

    def energy(x: Tensor) -> Tensor:
        return (freedom + dim) / 2 * torch.log1p(x.square().sum(1) / freedom)

    def sample(n: int, rng: torch.Generator) -> Tensor:
        seed = int(torch.randint(2**62, (1,), generator=rng))
        chi = torch.from_numpy(np.random.default_rng(seed).chisquare(freedom, (n, 1)))
        return _normal(rng, n, dim) / (chi / freedom).sqrt()

    log_z = math.lgamma(freedom / 2) - math.lgamma((freedom + dim) / 2)
    log_z += dim / 2 * math.log(freedom * math.pi)
    return Target(energy, log_z, _vector(*[0.0 if freedom > 1 else math.nan] * dim), sample)


def mixture(
    means: Sequence[Sequence[float]], scales: Sequence[Any], masses: Sequence[float]
) -> GaussianMixture:
    """Make a normalised Gaussian mixture whose components have diagonal covariances.

    Arguments:
        means: means of the K components in R^d, d numbers each.
        scales: standard deviations of the K components, each one number or d numbers.
        masses: probabilities of the K components, positive.

    Returns:
        The mixture, an energy with log Z = 0, in float32.
    """
    centres = torch.tensor(means, dtype=torch.float32)
    roots = [torch.as_tensor(s, dtype=torch.float32).expand(centres.shape[1]) for s in scales]
    covariances = torch.stack([root.square().diag() for root in roots])
    return GaussianMixture(centres, covariances, torch.tensor(masses, dtype=torch.float32))
