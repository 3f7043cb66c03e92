"""Five densities in the plane whose parts have unequal masses, all known in closed form.

Four of them are mixtures of round Gaussians along curves, and so are sampled and evaluated
exactly. The parts have unequal masses on purpose: scores near one part do not tell how much of
the mass is in another one, and walkers that cannot cross between parts do not, either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SETS", "Planar"]

POINTS = 150  # Gaussians along a curve


@dataclass(frozen=True)
class Planar:
    """A density in the plane, of several parts.

    Attributes:
        log_parts: function of rows (M, 2) that returns the logarithm of the density of each of K
            parts times the part's mass, (M, K).
        draw: function of a number of rows and a generator that returns samples (n, 2).
        masses: mass of each part (K,).
    """

    log_parts: Callable[[Tensor], Tensor]
    draw: Callable[[int, torch.Generator], Tensor]
    masses: Tensor

    def log_density(self, x: Tensor) -> Tensor:
        """Logarithms (M,) of the density at rows x (M, 2)."""
        return self.log_parts(x).logsumexp(1)

    def parts(self, x: Tensor) -> Tensor:
        """The index (M,) of the part that is likeliest at each row."""
        return self.log_parts(x).argmax(1)


def _along(curves: Sequence[Tensor], widths: Sequence[float], masses: Sequence[float]) -> Planar:
    """Mixtures of round Gaussians, a part for each curve of means (P, 2)."""
    pi, sd = torch.tensor(masses).double(), torch.tensor(widths).double()
    pi = pi / pi.sum()

    def log_parts(x: Tensor) -> Tensor:
        found = []
        for curve, s, p in zip(curves, sd, pi, strict=True):
            squared = torch.cdist(x.double(), curve.double()).square()
            norm = math.log(len(curve)) + (2 * math.pi * s.square()).log()
            found.append((-squared / (2 * s.square())).logsumexp(1) - norm + p.log())
        return torch.stack(found, 1)

    def draw(n: int, rng: torch.Generator) -> Tensor:
        part = torch.multinomial(pi, n, replacement=True, generator=rng)
        noise = torch.randn(n, 2, generator=rng)
        x = torch.empty(n, 2)
        for k, curve in enumerate(curves):
            own = (part == k).nonzero().flatten()
            point = torch.randint(len(curve), (len(own),), generator=rng)
            x[own] = curve[point].float() + widths[k] * noise[own]
        return x

    return Planar(log_parts, draw, pi)


def _arc(start: float, end: float, radius: float, x: float = 0.0, y: float = 0.0) -> Tensor:
    at = torch.linspace(start, end, POINTS, dtype=torch.float64)
    return torch.stack([x + radius * at.cos(), y + radius * at.sin()], 1)


def _moons() -> Planar:
    upper = _arc(0.0, math.pi, 1.6, -0.8, -0.4)
    lower = _arc(math.pi, 2 * math.pi, 1.6, 0.8, 0.4)
    return _along([upper, lower], [0.14, 0.14], [0.75, 0.25])


def _rings() -> Planar:
    whole = 2 * math.pi * (1 - 1 / POINTS)
    return _along([_arc(0.0, whole, r) for r in (0.6, 1.5, 2.4)], [0.1] * 3, [0.15, 0.5, 0.35])


def _eight() -> Planar:
    angle = torch.arange(8) * math.pi / 4
    centres = 2.2 * torch.stack([angle.cos(), angle.sin()], 1)
    masses = [0.22, 0.02, 0.18, 0.08, 0.2, 0.05, 0.15, 0.1]
    return _along([c[None] for c in centres], [0.2] * 8, masses)


def _pinwheel() -> Planar:
    s = torch.linspace(0, 1, POINTS, dtype=torch.float64)
    curves = []
    for k in range(5):
        angle = 2 * math.pi * k / 5 + 1.1 * s
        curves.append((0.5 + 2.1 * s)[:, None] * torch.stack([angle.cos(), angle.sin()], 1))
    return _along(curves, [0.16] * 5, [0.35, 0.1, 0.25, 0.05, 0.25])


def _checkerboard() -> Planar:
    """Uniform on eight squares of side 1.2; the mass of a square grows from left to right."""
    side = 1.2
    cells = [(i, j) for i in range(4) for j in range(4) if (i + j) % 2 == 0]
    corners = side * (torch.tensor(cells).double() - 2)
    masses = torch.tensor([1.0 + i for i, _ in cells], dtype=torch.float64)
    masses = masses / masses.sum()

    def log_parts(x: Tensor) -> Tensor:
        u = (x.double()[:, None] - corners) / side
        inside = ((u >= 0) & (u < 1)).all(2)
        return torch.where(inside, (masses / side**2).log(), -math.inf)

    def draw(n: int, rng: torch.Generator) -> Tensor:
        part = torch.multinomial(masses, n, replacement=True, generator=rng)
        return corners[part].float() + side * torch.rand(n, 2, generator=rng)

    return Planar(log_parts, draw, masses)


SETS: dict[str, Planar] = {
    "two moons": _moons(),
    "rings": _rings(),
    "checkerboard": _checkerboard(),
    "eight Gaussians": _eight(),
    "pinwheel": _pinwheel(),
}
"""The densities by name."""
