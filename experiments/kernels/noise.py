r"""The noise of unadjusted kernels: at fixed parameters nothing changes, yet weights spread.

**Gaussian.** With ``U = |x|^2 / 2`` leapfrog conserves ``|v|^2 + (1 - h/2) |x|^2``, ULA being
one leap with ``e = sqrt(2 h)``, so that every increment is ``(h/4) (|x|^2 - |y|^2)``. They
telescope: after n moves

    ``log w = (h/4) (|x_0|^2 - |x_n|^2)``,

however many moves there were. From ``x_0 ~ N(0, 1)`` the pair of every coordinate is Gaussian
with covariance ``S = [[1, a], [a, a^2 + s^2]]``, ``a = cos(L phi)^n``, ``cos phi = 1 - h``,
``s^2 = (1 - a^2) / (1 - h/2)`` for n moves of L leapfrog steps with fresh momenta. So ``E w^2 =
det(1 + S D)^{-d/2}``, ``D = h diag(-1, 1)``; as n grows ``CV^2 = d h^2 / 4 + O(h^3)``.

**Anything else.** Increments are of order ``h^{3/2}`` and do not cancel: the variance grows as
``n h^3``. Here: independent coordinates with ``U = sum_i x_i^2 / 2 + softplus(3 x_i)``, sampled
by inverting the distribution function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import noneq
from experiments.kernels.paths import Path
from noneq.kernels import Kernel

DIM = 50


def gaussian_cv2(h: float, dim: int, moves: int, leapfrog_steps: int = 1) -> float:
    """Exact ``Var w / (E w)^2`` on a whitened Gaussian; inf where it does not exist."""
    a = math.cos(leapfrog_steps * math.acos(1 - h)) ** moves
    s = torch.tensor([[1.0, a], [a, a**2 + (1 - a**2) / (1 - h / 2)]], dtype=torch.float64)
    d = h * torch.tensor([-1.0, 1.0], dtype=torch.float64).diag()
    # E exp(-z.D z / 2) exists where S^-1 + D is positive definite
    if not bool((torch.linalg.eigvalsh(torch.linalg.inv(s) + d) > 0).all()):
        return math.inf
    return float(torch.linalg.det(torch.eye(2, dtype=torch.float64) + s @ d)) ** (-dim / 2) - 1


class Skewed(nn.Module):
    """``U = sum_i x_i^2 / 2 + softplus(3 x_i)``; samples by inversion on a grid."""

    def __init__(self, dim: int = DIM) -> None:
        super().__init__()
        self.dim = dim
        grid = torch.linspace(-8, 6, 20_001, dtype=torch.float64)
        p = (-(grid.square() / 2 + nn.functional.softplus(3 * grid))).exp()
        self.grid, self.cdf = grid, p.cumsum(0) / p.sum()

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        return (x.square() / 2 + nn.functional.softplus(3 * x)).sum(1)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Samples (n, dim)."""
        u = torch.rand(n * self.dim, generator=rng, dtype=torch.float64)
        at = torch.searchsorted(self.cdf, u).clamp(1, len(self.grid) - 1)
        low, high = self.cdf[at - 1], self.cdf[at]
        x = torch.lerp(self.grid[at - 1], self.grid[at], (u - low) / (high - low))
        return x.view(n, self.dim).float()


@dataclass(frozen=True)
class Noise:
    """Of moves at fixed parameters: ``CV^2`` of the weights, variance of their logarithms."""

    kernel: str
    h: float
    evaluations: int
    cv2: float
    stderr: float
    variance: float
    theory: float = math.nan  # of CV^2


def measure(
    name: str, kernel: Kernel, energy: nn.Module, x: Tensor, counts: tuple[int, ...], *, h: float
) -> list[Noise]:
    """Move from samples x of the energy; weights are looked at after each of ``counts`` moves."""
    rng, found, done = torch.Generator().manual_seed(3), [], 0  # not that of x
    walkers = noneq.Walkers.at(x, energy, log_z=0.0)
    leapfrog_steps = getattr(kernel, "leapfrog_steps", 1)
    for count in counts:
        for _ in range(count - done):
            walkers = walkers.move(kernel, energy, rng)
        done = count
        log_w = walkers.log_w - walkers.log_w.mean()
        cv2, stderr = squared_variation(log_w.exp())
        found.append(Noise(name, h, count * leapfrog_steps, cv2, stderr, float(log_w.var())))
    return found


def squared_variation(w: Tensor, groups: int = 32) -> tuple[float, float]:
    """``Var w / (E w)^2`` and its standard error by the jackknife over groups of weights."""
    parts = w.view(groups, -1)
    one, two = parts.mean(1), parts.square().mean(1)

    def without(t: Tensor) -> Tensor:
        return (t.sum() - t) / (groups - 1)

    left = without(two) / without(one).square() - 1
    stderr = ((groups - 1) / groups * (left - left.mean()).square().sum()).sqrt()
    return float(two.mean() / one.mean() ** 2 - 1), float(stderr)


UNADJUSTED = {
    "ULA": lambda h, f: noneq.ULA(h, f),
    "unadjusted HMC, 4 leaps": lambda h, f: noneq.HMC(h, f, 4, adjusted=False),
    "OBABO": lambda h, f: noneq.HMC.obabo(h, f),
}


def on_known(steps: list[float], n: int, *, moves: tuple[int, int] = (16, 64)) -> dict[str, list]:
    """The whitened Gaussian (with theory) and the skewed target, at equal evaluations."""
    rng = torch.Generator().manual_seed(0)
    identity, targets = noneq.energies.Identity(), {"Gaussian": None, "skewed": Skewed()}
    found: dict[str, list[Noise]] = {}
    for target, energy in targets.items():
        model = energy or noneq.Gaussian(torch.zeros(DIM), identity)
        x = model.sample(n, rng)
        found[target] = []
        for name, make in UNADJUSTED.items():
            for h in steps:
                kernel = make(h, identity)
                leapfrog_steps = getattr(kernel, "leapfrog_steps", 1)
                counts = tuple(m // leapfrog_steps for m in moves)
                rows = measure(name, kernel, model, x, counts, h=h)
                for row, count in zip(rows, counts, strict=True):
                    fresh = energy is None and name != "OBABO"
                    theory = gaussian_cv2(h, DIM, count, leapfrog_steps) if fresh else math.nan
                    found[target].append(Noise(**{**vars(row), "theory": theory}))
    return found


def slope(rows: list[Noise], kernel: str) -> float:
    """Exponent of h in the rate at which the variance of log w grows, by least squares."""
    points = []
    for h in sorted({r.h for r in rows}):
        early, late = (r for r in rows if r.kernel == kernel and r.h == h)
        rate = (late.variance - early.variance) / (late.evaluations - early.evaluations)
        if rate > 0:
            points.append((math.log(h), math.log(rate)))
    if len(points) < 2:
        return math.nan
    a = torch.tensor(points, dtype=torch.float64)
    a = a - a.mean(0)
    return float((a[:, 0] @ a[:, 1]) / a[:, 0].square().sum())


def on_path(path: Path, steps: list[float], moves: tuple[int, ...] = (8, 64)) -> list[Noise]:
    """At the end of a recorded path, from its samples."""
    path.place(len(path))
    x, rows = path.truths[len(path)].x, []
    if not path.factors:
        for h in steps:
            kernel: Kernel = noneq.kernels.DiscreteLangevin(h, adjusted=False)
            name = "unadjusted discrete Langevin"
            rows += measure(name, kernel, path.energy, x, moves, h=h)
        return rows
    factor = next(iter(path.factors.values()))
    for name, make in UNADJUSTED.items():
        for h in steps:
            kernel = make(h, factor)
            leapfrog_steps = getattr(kernel, "leapfrog_steps", 1)
            counts = tuple(m // leapfrog_steps for m in moves)
            rows += measure(name, kernel, path.energy, x, counts, h=h)
    return rows
