"""Rays that start at the data, along which an energy is evaluated far from the data.

Directions are the coordinate axes, the leading and trailing principal axes of the data, and random
ones. All but the coordinate axes are used a second time after a minimisation: a point of low
energy is sought near the ray on each of two distant spheres, and the straight line through both
points stays inside a valley of the energy that extends that far.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from noneq.energies import Energy, evaluate

__all__ = ["Field", "Rays", "rays_of"]

AXES = 64  # coordinate axes; in more dimensions a quarter as many, of the farthest outliers
PRINCIPAL = 8  # leading principal axes, and as many trailing ones
ROWS = 256  # rows that the principal axes are computed from
NEAR, FAR = 2.0**10, 2.0**20  # distances of the two spheres, in radii of the data


class Field:
    """Evaluates an energy at flat float64 points (B, d), whatever shape and dtype it expects.

    Arguments:
        energy: energy U, any callable ``(B, *shape) -> (B,)``.
        x: data rows (M, *shape), which have the shape and dtype that the energy expects. Their
            median is the centre of the data, the median distance from it their radius.
    """

    def __init__(self, energy: Energy, x: Tensor) -> None:
        self.energy = energy
        self.shape, self.dtype = x.shape[1:], x.dtype
        self.eps = torch.finfo(x.dtype).eps
        self.rows = x.detach().flatten(1).double()
        # medians: rows of a heavy tail have no mean
        self.centre = self.rows.median(0).values
        lengths = (self.rows - self.centre).norm(dim=1)
        self.scale = float(lengths.median()) or float(lengths.max()) or 1.0

    def rounded(self, z: Tensor) -> Tensor:
        """Return points z (..., d) cast to the dtype in which the energy is evaluated."""
        return z.to(self.dtype)

    def energies(self, z: Tensor) -> Tensor:
        """Return the energies U (...), float64, at points z (..., d)."""
        u, _ = evaluate(self.energy, self._rows(z), skip_gradient=True)
        return u.double().view(z.shape[:-1])

    def slopes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies U (B,) and gradients dU/dz (B, d), float64, at points z (B, d).

        Where there is no gradient, or it is NaN or infinite, it is 0.
        """
        u, cache = evaluate(self.energy, self._rows(z))
        g = cache["g"].flatten(1).double() if "g" in cache else torch.zeros_like(z)
        return u.double(), g.nan_to_num(0.0, 0.0, 0.0)

    def _rows(self, z: Tensor) -> Tensor:
        return self.rounded(z).reshape(-1, *self.shape)


class Rays(NamedTuple):
    """Holds n rays, half-lines of points ``origin + r v`` at distances ``r >= 0``.

    Attributes:
        origin: origins (n, d), near the centre of the data.
        v: directions (n, d), unit vectors.
    """

    origin: Tensor
    v: Tensor

    def at(self, radii: Tensor) -> Tensor:
        """Return the points (n, K, d) of the n rays at K distances ``radii`` (K,)."""
        return self.origin[:, None] + radii[:, None] * self.v[:, None]


def rays_of(field: Field, *, many: int) -> Rays:
    """Choose rays from the centre of the data outwards, on which to test whether an energy rises.

    Directions are coordinate axes, principal axes and random ones; the principal and the random
    ones are used a second time after the energy was minimised from there on distant spheres.

    Arguments:
        field: energy as a function of flat points, with the centre and the principal axes of the
            data.
        many: number of random directions, of a fixed seed.

    Returns:
        The rays; axes are followed in both directions.
    """
    rng = torch.Generator(field.rows.device).manual_seed(0)
    d = field.rows.shape[1]
    v = torch.randn(many, d, generator=rng, dtype=torch.float64, device=field.rows.device)
    axes, principal = _axes(field), _principal(field)
    v = torch.cat([principal, -principal, _unit(v)])
    far = _polished(field, _polished(field, v, NEAR * field.scale, 16), FAR * field.scale, 8)
    near = _polished(field, far, NEAR * field.scale, 8)
    along = _unit(FAR * far - NEAR * near)
    across = NEAR * field.scale * (near - (near * along).sum(1, keepdim=True) * along)
    v = torch.cat([axes, -axes, v, along])
    origin = field.centre.expand_as(v).clone()
    origin[-len(across) :] += across
    return Rays(origin, v)


def _axes(field: Field) -> Tensor:
    centred = field.rows - field.centre
    d = centred.shape[1]
    outlying = centred.abs().amax(0) / centred.abs().mean(0).clamp(min=1e-300)
    few = d if d <= AXES else AXES // 4
    return torch.eye(d, dtype=centred.dtype, device=centred.device)[
        outlying.argsort(descending=True)[:few]
    ]


def _principal(field: Field) -> Tensor:
    """Leading and trailing principal axes."""
    found = torch.linalg.svd(field.rows[:ROWS] - field.centre, full_matrices=False)[2]
    return torch.cat([found[:PRINCIPAL], found[PRINCIPAL:][-PRINCIPAL:]])


def _polished(field: Field, v: Tensor, radius: float, steps: int) -> Tensor:
    """Directions of lowest energy on a sphere, by steps of Barzilai and Borwein (1988)."""
    u, g = field.slopes(field.centre + radius * v)
    g = _tangent(g, v)
    lowest, best = u.nan_to_num(math.inf), v
    step = 1e-3 / g.norm(dim=1, keepdim=True).clamp(min=1e-30)
    for _ in range(steps):
        to = _unit(v - step * g)
        u, slope = field.slopes(field.centre + radius * to)
        slope = _tangent(slope, to)
        lower = u < lowest
        lowest, best = torch.where(lower, u, lowest), torch.where(lower[:, None], to, best)
        moved, change = to - v, slope - g
        product = (moved * change).sum(1, keepdim=True).abs().clamp(min=1e-300)
        step = moved.square().sum(1, keepdim=True) / product
        # no farther than a tenth of the sphere, whatever the curvature
        step = torch.minimum(step, 0.1 / slope.norm(dim=1, keepdim=True).clamp(min=1e-30))
        v, g = to, slope
    return best


def _unit(v: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return v / length.clamp(min=1e-300)


def _tangent(g: Tensor, v: Tensor) -> Tensor:
    return g - (g * v).sum(1, keepdim=True) * v
