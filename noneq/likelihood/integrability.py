"""A test whether exp(-U) has a finite integral Z, by the energy along rays far from the data.

Annealing cannot see an infinite Z: samples leave a metastable region late or never, and the
estimate is finite. So the energy is evaluated along rays, up to 10^6 and then 10^9 radii of the
data. Where U rises by less than ``d log 2`` per octave of distance along a ray (d the dimension),
the region around the ray decides (`noneq.likelihood.regions`): Z is infinite if a map carries the
region outwards, again and again, without losing mass; Z may be infinite if this holds on the ray
alone, or to a decreasing degree. The test is one-sided: a cone that no ray meets stays unseen.
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

NEAR = (10, 12, 14, 16, 18, 20)  # distances, as octaves of the data's radius
FAR = (
    26,
    28,
    30,
)  # distances at which an energy that is bounded, at a large value, is seen to be so
CANDIDATES = 6  # rays whose regions are examined; a third as many above
MANY = 128  # dimensions, where a region is expensive
LINEAR = 0.75  # exponent of growth, well below 1, that counts as slower than linear


class Tails(NamedTuple):
    """Holds what was found about an energy U far from the data: whether Z can be infinite.

    Attributes:
        alarm: sentence that says why Z is or may be infinite, with a remedy; None if no ray shows
            it.
        proven: whether Z is shown to be infinite, rather than only possibly so.
        heavy: whether U grows slower than linearly along some ray, e.g. as a logarithm.
    """

    alarm: str | None = None
    proven: bool = False
    heavy: bool = False


def tails(energy: Energy, x: Tensor, *, rays: int = 64) -> Tails:
    """Test whether ``exp(-U)`` has a finite integral Z, and whether its tails are heavy.

    Arguments:
        energy: energy U; on a discrete space or in a bounded box nothing is tested.
        x: data rows (M, *shape), a few hundred are enough. U is evaluated on rays that start at
            the median of the rows, at multiples of their median distance from it.
        rays: number of rays in random directions (of a fixed seed), besides the coordinate and
            principal axes.

    Returns:
        An alarm (a sentence with a remedy) where Z is or may be infinite, whether this is proven,
        and whether U grows slower than linearly.
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
    """Doubt that the integral is finite, from one ray."""

    certainty: int = NO
    text: str | None = None


class _Growth(NamedTuple):
    """Energies along n rays at K distances."""

    radii: Tensor
    """(K,) distances from the centre"""
    u: Tensor
    """(n, K) energies"""
    rise: Tensor
    """(n, K - 1) rise of the energy per octave"""
    eps: float
    """relative resolution of u"""

    @classmethod
    def along(cls, field: Field, rays: Rays, octaves: tuple[int, ...]) -> _Growth:
        """Evaluate the energy along rays, at distances given as octaves of the data's radius."""
        powers = torch.tensor(octaves, dtype=torch.float64, device=rays.v.device)
        radii, apart = field.scale * 2.0**powers, powers.diff()
        u = field.energies(rays.at(radii))
        return cls(radii, u, rise(u, apart), field.eps)

    @property
    def most(self) -> Tensor:
        """(n,) the largest rise per octave, less what rounding may have added."""
        octave = float((self.radii[1] / self.radii[0]).log2())
        return self.rise.amax(1) - rounding(self.u, self.eps) / octave

    def doubt(self, field: Field, rays: Rays, beyond: _Growth | None) -> _Doubt:
        """The strongest doubt, of the rays of least rise; ``beyond`` is the growth farther out."""
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
                continue  # at such distances x may have too few digits
            if certainty == PROVEN and beyond is not None and beyond.most[i] > volume:
                resolved = ray.astray(beyond.radii) < 0.1 * width
                certainty = POSSIBLE if resolved else PROVEN
            if certainty > doubt.certainty:
                doubt = _Doubt(certainty, self._text(i, certainty))
            if certainty == PROVEN:
                break
        return doubt

    def slow(self) -> Tensor:
        """(n,) whether U grows slower than linearly: its rise by less than ``2^LINEAR`` an octave.

        Only the nearer radii count: farther out a rotated valley is narrower than the digits of x.
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
            f"{float(r[-1]):.3g}, and annealing cannot show it; add a term that confines, "
            "e.g. a base: noneq.Tilted(base, net)"
        )
