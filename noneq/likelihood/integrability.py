r"""Can exp(-U) be integrated? What the energy does along rays far out of the data.

Annealing cannot see an infinite Z: walkers leave a metastable region late or never, and report a
finite number. So rays are followed out to a million radii of the data and on to a thousand
million. Where U rises by less than ``d log 2`` an octave along one, the region around it decides
(`noneq.likelihood.regions`): Z is infinite where it is carried outwards without losing mass,
possibly so where that holds on the ray itself only, or less and less. The test is one-sided: a
cone that no ray meets stays unseen.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from noneq.energies import Energy
from noneq.likelihood.rays import Field, Rays, rays_of
from noneq.likelihood.regions import NO, POSSIBLE, PROVEN, Ray, rise, rounding
from noneq.spaces import Box, Discrete, space_of

__all__ = ["Tails", "tails"]

NEAR = (10, 12, 14, 16, 18, 20)  # octaves of the data's radius
FAR = (26, 28, 30)  # where an energy that is bounded far above the data's is seen to be
CANDIDATES = 6  # in many dimensions, where regions are dear, a third as many
MANY = 128
LINEAR = 0.75  # an exponent well below 1


class Tails(NamedTuple):
    """What an energy does far out."""

    alarm: str | None = None
    """why Z is infinite, or may be, with what to do; None where no ray says so"""
    proven: bool = False
    """whether Z is infinite, not only possibly so"""
    heavy: bool = False
    """whether U grows slower than linearly along some ray, e.g. as a logarithm"""


def tails(energy: Energy, x: Tensor, *, rays: int = 64) -> Tails:
    """Whether ``exp(-U)`` has an integral, and how heavy its tails are.

    Arguments:
        energy: U. One of discrete sites or in a bounded box has no tails.
        x: rows (M, *shape) that it is meant for; their medians set the centre and the scale, a
            few hundred are enough.
        rays: random ones, from a seed of their own, besides axes and principal axes.
    """
    space = space_of(energy)
    if isinstance(space, Discrete):
        return Tails()
    if isinstance(space, Box) and bool(torch.isfinite(space.high - space.low).all()):
        return Tails()
    field = Field(energy, x)
    found = rays_of(field, many=rays)
    near, far = (_Growth.along(field, found, octaves) for octaves in (NEAR, FAR))
    doubt = far.doubt(field, found, None)
    if doubt.certainty < PROVEN:
        doubt = max(doubt, near.doubt(field, found, far), key=lambda d: d.certainty)
    return Tails(doubt.text, doubt.certainty == PROVEN, bool(near.slow().any()))


class _Doubt(NamedTuple):
    """Of the integral, by one ray."""

    certainty: int = NO
    text: str | None = None


class _Growth(NamedTuple):
    """Energies along n rays."""

    radii: Tensor
    """(K,)"""
    u: Tensor
    """(n, K)"""
    rise: Tensor
    """(n, K - 1) per octave"""
    eps: float
    """relative resolution of u"""

    @classmethod
    def along(cls, field: Field, rays: Rays, octaves: tuple[int, ...]) -> _Growth:
        """At so many octaves of the data's radius."""
        powers = torch.tensor(octaves, dtype=torch.float64, device=rays.v.device)
        radii, apart = field.scale * 2.0**powers, powers.diff()
        u = field.energies(rays.at(radii))
        return cls(radii, u, rise(u, apart), field.eps)

    @property
    def most(self) -> Tensor:
        """(n,) the largest rise, what rounding may have added taken off."""
        octave = float((self.radii[1] / self.radii[0]).log2())
        return self.rise.amax(1) - rounding(self.u, self.eps) / octave

    def doubt(self, field: Field, rays: Rays, beyond: _Growth | None) -> _Doubt:
        """By the rays along which U rises least; beyond is what it does still farther out."""
        d = rays.v.shape[1]
        volume = d * math.log(2)  # no region grows faster than a cone
        few = CANDIDATES if d <= MANY else CANDIDATES // 3
        doubt = _Doubt()
        for i in self.most.argsort()[:few].tolist():
            if not self.most[i] <= volume:
                break
            ray = Ray(field, Rays(rays.origin[i : i + 1], rays.v[i : i + 1]), self.radii)
            certainty, width = ray.finding()
            if certainty == POSSIBLE and beyond is None:
                continue  # so far out x may have too few digits
            if certainty == PROVEN and beyond is not None and beyond.most[i] > volume:
                told = ray.astray(beyond.radii) < 0.1 * width
                certainty = POSSIBLE if told else PROVEN
            if certainty > doubt.certainty:
                doubt = _Doubt(certainty, self._text(i, certainty))
            if certainty == PROVEN:
                break
        return doubt

    def slow(self) -> Tensor:
        """(n,) whether U grows slower than linearly: by less than ``2^LINEAR`` as much an octave.

        By the nearer radii: farther out a rotated valley is narrower than the digits of x.
        """
        rises = self.rise[:, :3]
        octaves = (self.radii[1] / self.radii[0]).log2()
        pairs = self.u[:, :4].unfold(1, 2, 1)
        noise = rounding(pairs.flatten(0, 1), self.eps).view_as(rises) / octaves
        slower = rises[:, 1:] < 2.0 ** (LINEAR * octaves) * rises[:, :-1]
        slower |= rises[:, 1:].abs() <= noise[:, 1:]
        rising = (rises < math.inf) & (rises >= -noise)
        return rising.all(1) & slower.all(1)

    def _text(self, i: int, certainty: int) -> str:
        u, r = self.u[i], self.radii
        has = "has" if certainty == PROVEN else "may have"
        return (
            f"exp(-U) {has} no finite integral: along a ray out of the data the energy goes from "
            f"{float(u[0]):.4g} at distance {float(r[0]):.3g} to {float(u[-1]):.4g} at "
            f"{float(r[-1]):.3g}, and no number of walkers would show it; add what confines, e.g. "
            "a base: noneq.Tilted(base, net)"
        )
