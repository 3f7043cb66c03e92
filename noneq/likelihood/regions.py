"""A proof that Z is infinite: a region that maps carry outwards without losing mass.

Let maps ``T_1, T_2, ...`` carry a region N outwards to disjoint regions. Each image has at least
the mass (integral of ``exp(-U)``) of the one before if, for all x in it,

    ``U(T x) - U(x) <= log |det dT/dx|``,

and then the integral of ``exp(-U)`` is infinite. Here T doubles the distance along a ray ``o + r
v`` and stretches the d - 1 directions across it by ``2^gamma_i``, so that the right side is ``(1 +
sum_i gamma_i) log 2``. A *tube* has gamma = 0, a *cone* gamma = 1; between them gamma follows the
measured widths over which U rises by 1.

The growth along one ray alone proves nothing: ``U = 1.2 sum_i log(1 + |x_i|)`` rises by less than
``d log 2`` an octave along an axis, but in a tube only, and its integral is finite.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from noneq.likelihood.rays import Field, Rays

__all__ = ["NO", "POSSIBLE", "PROVEN", "Finding", "Ray", "rise", "rounding"]

NO, POSSIBLE, PROVEN = range(3)
"""How certain it is that Z is infinite: no sign of it (0), possible (1), proven (2)."""
PROBES = 16  # points around a ray
CONES = (0.1, 1e-2, 1e-3)  # half widths of cones, relative to the distance
BISECTIONS = 14  # bisections of the logarithm of a width
OCTAVES = 40  # range of widths that are bisected
MOST = 1024  # largest number of directions across a ray, each of which has a width of its own
EVER = 100.0  # growth that may still come, in units of its last change
ROUNDING = 5e-3  # nats an octave that count as no growth; a larger rounding error is a margin


class Finding(NamedTuple):
    """Holds the evidence that ``exp(-U)`` has an infinite integral over a region around a ray.

    Attributes:
        certainty: certainty that Z is infinite: `NO`, `POSSIBLE` or `PROVEN`.
        width: width of the region where it is narrowest; infinite if no region was found.
    """

    certainty: int
    width: float = math.inf


class _Widths(NamedTuple):
    """Widths of a valley around a ray: where U has risen by 1, on the steeper side."""

    value: Tensor
    """(d - 1,) widths"""
    resolved: bool
    """whether x has enough digits for them"""
    centred: bool
    """whether the ray is near the bottom of the valley"""


class Ray(NamedTuple):
    """Tests whether the integral of ``exp(-U)`` is infinite near a ray ``origin + r v``.

    Attributes:
        field: the energy U as a function of flat points.
        ray: the ray, as a set of one ray.
        radii: distances r (K,) along the ray at which U is evaluated, K >= 3.
    """

    field: Field
    ray: Rays
    radii: Tensor

    def finding(self) -> Finding:
        """Test whether a map carries a region around the ray outwards without losing mass.

        The mass is the integral of ``exp(-U)``; the regions tried are cones of several widths, and
        a tube as wide as the valley of the energy around the ray.

        Returns:
            The strongest evidence that the integral is infinite.
        """
        across, found = _across(self.ray.v[0]), Finding(NO)
        one = across.new_ones(len(across))
        for share in CONES if len(across) else CONES[:1]:
            width = share * self.radii[0]
            excess, noise = self._excess(across, width * one, one)
            found = max(found, Finding(_obeyed(excess, noise), float(width)))
            if found.certainty == PROVEN:
                return found
        return max(found, self._tube(across)) if 0 < len(across) <= MOST else found

    def astray(self, radii: Tensor) -> float:
        """Return how far rounding moves points of the ray sideways, at the most.

        Arguments:
            radii: distances (K,) along the ray.

        Returns:
            The largest distance from the ray to one of its points that is rounded to the dtype in
            which the energy is evaluated.
        """
        z, v = self.ray.at(radii)[0], self.ray.v[0]
        off = self.field.rounded(z).double() - z
        return float((off - (off @ v)[:, None] * v).norm(dim=1).max())

    def _tube(self, across: Tensor) -> Finding:
        """Test a tube whose widths are those of the valley around the ray."""
        ray, first = self, self._widths(across, 0)
        last = first._replace(resolved=False)
        while first.resolved and not last.resolved and len(ray.radii) > 2:
            last = ray._widths(across, -1)
            if not last.resolved:  # nearer, where points have the digits to tell
                ray = ray._replace(radii=ray.radii[:-1])
        if not last.resolved:
            return Finding(POSSIBLE, 0.0)
        if not (first.centred and last.centred):
            return Finding(NO)  # another ray may be
        gamma = (last.value / first.value).log2() / (ray.radii[-1] / ray.radii[0]).log2()
        # downwards: a region that grows less is a region, too
        excess, noise = ray._excess(across, first.value, (32 * gamma + 0.1).floor() / 32)
        certainty = max(_obeyed(excess, noise), min(POSSIBLE, _obeyed(excess[:1], noise)))
        return Finding(certainty, float(torch.minimum(first.value, last.value).min()))

    def _excess(self, across: Tensor, widths: Tensor, gamma: Tensor) -> tuple[Tensor, float]:
        """``(U(T x) - U(x) - log |det dT/dx|)`` per octave (1 + PROBES, K - 1), of the ray first.

        Arguments:
            across: orthonormal directions (d - 1, d).
            widths: (d - 1,) widths of the region at the first distance.
            gamma: (d - 1,) exponents by which the widths grow with the distance.

        Returns:
            The excess, and the bound of its error by the rounding of U and x.
        """
        rng = torch.Generator(across.device).manual_seed(0)
        size, where = (PROBES, len(across)), across.device
        a = torch.randn(size, generator=rng, dtype=torch.float64, device=where).to(across)
        a = torch.cat([0 * a[:1], a / (2 * a.norm(dim=1, keepdim=True))])
        widths = widths * (self.radii / self.radii[0])[:, None] ** gamma
        z = self.ray.at(self.radii) + (a[:, None] * widths) @ across
        u, octaves = self.field.energies(z), self.radii.log2().diff()
        volume = math.log(2) * (1 + float(gamma.sum()))
        # U differs by 1 over a width
        off = (self.field.rounded(z).double() - z) @ across.T / widths
        noise = rounding(u, self.field.eps).max() + off.norm(dim=-1).max()
        return rise(u, octaves) - volume, float(noise / octaves.min())

    def _widths(self, across: Tensor, k: int) -> _Widths:
        """The widths at the k-th distance."""
        x = self.ray.at(self.radii)[0, k]
        u = self.field.energies(x[None])
        high = self.radii[k].log2().expand(len(across)) - 1
        low = high - OCTAVES
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            fits = self._sides(x, 2.0**middle, across).amax(0) <= u + 1
            low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
        widths = 2.0**low
        moved = self.field.rounded(x + widths[:, None] * across) - self.field.rounded(x)
        really = (moved.double() * across).sum(1)
        return _Widths(
            widths,
            bool(((really - widths).abs() < 0.02 * widths).all()),
            bool((self._sides(x, widths, across).amin(0) > u - 0.5).all()),
        )

    def _sides(self, x: Tensor, widths: Tensor, across: Tensor) -> Tensor:
        """Energies (2, d - 1) at these distances to either side of x."""
        step = widths[:, None] * across
        return self.field.energies(torch.stack([x + step, x - step]))


def rise(u: Tensor, octaves: Tensor) -> Tensor:
    """Compute the rise of energies along rays per octave (doubling) of distance.

    Arguments:
        u: energies (n, K) at K distances along n rays.
        octaves: logarithms to base 2 (K - 1,) of the ratios of neighbouring distances.

    Returns:
        The rise (n, K - 1); +inf where it is not defined, -inf after an energy of -inf.
    """
    found = (u.diff(dim=1) / octaves).nan_to_num(math.inf, math.inf, -math.inf)
    return torch.where(u[:, :-1] == -math.inf, -math.inf, found)


def rounding(u: Tensor, eps: float) -> Tensor:
    """Bound the rounding error of differences of energies along rays.

    Arguments:
        u: energies (n, K) at K distances along n rays.
        eps: relative rounding error of one energy, e.g. ``torch.finfo(dtype).eps``.

    Returns:
        A bound (n,) for each ray, in nats.
    """
    return 32 * eps * (1 + u.abs().nan_to_num(0.0, 0.0, 0.0).amax(1))


def _obeyed(excess: Tensor, noise: float) -> int:
    """Test whether the inequality holds; POSSIBLE where its slack keeps shrinking."""
    slack = noise if noise < ROUNDING else -noise
    if not bool((excess <= slack).all()):
        return NO
    change = (excess[:, -1] - excess[:, -2] - 2 * noise).clamp(min=0).nan_to_num(0.0)
    return PROVEN if bool((excess[:, -1] + EVER * change <= slack).all()) else POSSIBLE


def _across(v: Tensor) -> Tensor:
    """Orthonormal directions (d - 1, d) at right angles to the unit vector v: near axes, if v is.

    The reflection that takes an axis to v takes the others to them.
    """
    j = int(v.abs().argmax())
    axis = torch.zeros_like(v)
    axis[j] = 1.0 if v[j] < 0 else -1.0  # to v or -v, whichever loses no digits
    w = v - axis
    eye = torch.eye(len(v), dtype=v.dtype, device=v.device)
    reflection = eye - 2 * w[:, None] * w / w.square().sum()
    return torch.cat([reflection[:j], reflection[j + 1 :]])
