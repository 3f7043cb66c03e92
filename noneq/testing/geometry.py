r"""Densities of difficult shape whose log Z, mean and exact samples are known.

They have the shape of a thin ring, a wall, a gap between two half-spaces, and a plateau.

>>> import torch, noneq
>>> target = noneq.testing.chambers()
>>> target.mean.tolist()  # 70 percent are right of the gap
[1.0, 0.0]
>>> bool(target.energy(torch.zeros(1, 2)).isposinf())
True
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from noneq.testing.targets import LOG_2_PI, Target, _normal, _uniform, _vector

__all__ = ["chambers", "plateau", "ring", "wall"]


def ring(dim: int = 2, bias: float = 1.5, radius: float = 8.0, width: float = 0.25) -> Target:
    r"""Make a density on R^dim that is a thin ring in the first two coordinates.

    ``U = (r - radius)^2 / (2 width^2) + bias cos(angle) + |rest|^2 / 2``, where r and angle are
    the first two coordinates in polar form, and rest is the vector of the others. With the
    modified Bessel function I_0, ``Z = 2 pi I_0(bias) radius width (2 pi)^((dim - 1) / 2)`` up to
    terms of order ``exp(-radius^2 / (2 width^2))``.

    Arguments:
        dim: dimension of x, 2 or more.
        bias: strength of the factor ``exp(-bias cos(angle))``, by which the density varies along
            the ring.
        radius: radius of the ring.
        width: standard deviation across the ring, much less than the radius.

    Returns:
        A `Target`: energy (B, dim) -> (B,), with its exact log Z, mean (dim,) and sampler.
    """

    def energy(x: Tensor) -> Tensor:
        r = x[:, :2].square().sum(1).add(1e-12).sqrt()
        along = bias * x[:, 0] / r
        return (r - radius).square() / (2 * width**2) + along + x[:, 2:].square().sum(1) / 2

    angle = torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64)
    reach = radius + width * torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    along, across = -bias * angle.cos(), reach.log() - ((reach - radius) / width).square() / 2

    def sample(n: int, rng: torch.Generator) -> Tensor:
        a, r = _inverted(angle, along, n, rng), _inverted(reach, across, n, rng)
        return torch.cat([torch.stack([r * a.cos(), r * a.sin()], 1), _normal(rng, n, dim - 2)], 1)

    i0, i1 = (float(f(_vector(bias))) for f in (torch.special.i0, torch.special.i1))
    log_z = math.log(radius * width * math.sqrt(2 * math.pi)) + LOG_2_PI
    log_z += math.log(i0)
    log_z += (dim - 2) / 2 * LOG_2_PI
    mean = -(radius**2 + width**2) / radius * i1 / i0
    return Target(energy, log_z, _vector(mean, *[0.0] * (dim - 1)), sample)


def _inverted(at: Tensor, log_p: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw n numbers from a density given at equally spaced points, linear between them."""
    p = log_p.softmax(0).numpy()
    mass = np.concatenate([[0.0], np.cumsum((p[1:] + p[:-1]) / 2)])
    u = _uniform(rng, n).numpy() * mass[-1]
    return torch.from_numpy(np.interp(u, mass, at.numpy()))


def wall(dim: int = 2, place: float = 0.5) -> Target:
    r"""Make a standard normal density cut off by a wall: the energy is +inf where x_0 <= place.

    ``Z = (2 pi)^(dim / 2) erfc(place / sqrt 2) / 2``.

    Arguments:
        dim: dimension of x.
        place: position of the wall on the axis of the first coordinate x_0.

    Returns:
        A `Target`: energy (B, dim) -> (B,), with its exact log Z, mean (dim,) and sampler.
    """

    def energy(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > place, x.square().sum(1) / 2, math.inf)

    right = math.erfc(place / math.sqrt(2)) / 2

    def sample(n: int, rng: torch.Generator) -> Tensor:
        first = -torch.special.ndtri(right * _uniform(rng, n, 1))
        return torch.cat([first, _normal(rng, n, dim - 1)], 1)

    first = math.exp(-(place**2) / 2) / math.sqrt(2 * math.pi) / right
    log_z = dim / 2 * LOG_2_PI + math.log(right)
    return Target(energy, log_z, _vector(first, *[0.0] * (dim - 1)), sample)


def chambers(dim: int = 2, right: float = 0.7) -> Target:
    r"""Make a density on two half-spaces, ``x_0 < -2`` and ``x_0 > 2``: U is +inf between them.

    The distance ``y = |x_0| - 2`` from the gap has the density ``2 e^{-2 y}``, and the vector rest
    of the other coordinates is standard normal: ``U = 2 y + |rest|^2 / 2``, minus
    ``log(right / (1 - right))`` where x_0 > 2. ``Z = (2 pi)^((dim - 1) / 2) / (2 (1 - right))``.

    Arguments:
        dim: dimension of x.
        right: probability of the half-space ``x_0 > 2``, in (0, 1).

    Returns:
        A `Target`: energy (B, dim) -> (B,), with its exact log Z, mean (dim,) and sampler.
    """
    drop = math.log(right / (1 - right))

    def energy(x: Tensor) -> Tensor:
        side = torch.where(x[:, 0] > 0, x[:, 0] - 2, -x[:, 0] - 2)
        u = 2 * side + x[:, 1:].square().sum(1) / 2 - drop * (x[:, 0] > 0)
        return torch.where(side > 0, u, math.inf)

    def sample(n: int, rng: torch.Generator) -> Tensor:
        first = 2 - _uniform(rng, n, 1).log() / 2
        first = torch.where(_uniform(rng, n, 1) < right, first, -first)
        return torch.cat([first, _normal(rng, n, dim - 1)], 1)

    log_z = math.log(0.5) + math.log1p(math.exp(drop)) + (dim - 1) / 2 * LOG_2_PI
    mean = _vector(2.5 * (2 * right - 1), *[0.0] * (dim - 1)).round(decimals=12)
    return Target(energy, log_z, mean, sample)


def plateau(
    dim: int = 2, radius: float = 6.0, core: float = 0.3, mass: float = 0.5, edge: float = 0.2
) -> Target:
    r"""Make a mixture of a narrow Gaussian and a wide box of constant density with soft edges.

    ``exp(-U)`` is the sum of the box and a multiple of the density of ``N(0, core^2)``. The box
    is, with the logistic function s, ``prod_i s((x_i + radius) / edge) s((radius - x_i) / edge)``:
    in it each coordinate is distributed as the sum of a uniform and a logistic random number. The
    integral of the box is ``(2 radius)^dim`` up to terms of order ``exp(-2 radius / edge)``, and
    ``Z = (2 radius)^dim / mass``.

    Arguments:
        dim: dimension of x.
        radius: half the side of the box, many times ``edge``.
        core: standard deviation of the narrow Gaussian.
        mass: probability of the box, in (0, 1).
        edge: width of the edges of the box.

    Returns:
        A `Target`: energy (B, dim) -> (B,), with its exact log Z, mean (dim,) and sampler.
    """
    log_core = dim / 2 * LOG_2_PI + dim * math.log(core)
    log_box = dim * math.log(2 * radius)
    lift = log_box - log_core - math.log(mass / (1 - mass))

    def energy(x: Tensor) -> Tensor:
        box = (logsigmoid((x + radius) / edge) + logsigmoid((radius - x) / edge)).sum(1)
        sharp = lift - x.square().sum(1) / (2 * core**2)
        return -torch.logaddexp(box, sharp)

    def sample(n: int, rng: torch.Generator) -> Tensor:
        flat = radius * (2 * _uniform(rng, n, dim) - 1) + edge * _uniform(rng, n, dim).logit()
        wide = _uniform(rng, n, 1) < mass
        return torch.where(wide, flat, core * _normal(rng, n, dim))

    return Target(energy, log_box - math.log(mass), _vector(*[0.0] * dim), sample)
