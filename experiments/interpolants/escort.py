r"""Does a learned drift help annealing on the lattice phi^4, where annealing alone is good?

Walkers (weighted samples) are annealed along ``U_t = (1 - t) U_0 + t U_1`` from a Gaussian. A
drift b(x, t) that carries the densities ``exp(F_t - U_t)`` along in t solves

    ``div b - b.grad U_t = dU_t/dt - dF_t/dt``,

and then no weight varies. With ``b = sum_k c_k(t) phi_k(x)`` the coefficients are those of a
linear least-squares fit of the right side by ``div phi_k - phi_k.grad U_t`` over walkers at t,
one fit for each temperature, without a network; derived in docs/results/interpolants.md. A step
is escorted: walkers follow Euler's map ``x + h b``, weighted by its determinant
(`noneq.kernels.Flow`), and make a MALA move. That is two evaluations of the energy, so that
escorted walkers make half as many steps as annealed ones. The fits are not counted; they cost 3
evaluations a walker and step.

    python -m experiments interpolants.escort            10 minutes on one core
    python -m experiments interpolants.escort --quick    one seed, few walkers, no record
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import tyro
from torch import Tensor, nn

import noneq
from experiments.common import record, recorded, table
from noneq.energies import GeometricPath, evaluate
from noneq.kernels import MALA, Chain, Flow
from noneq.models.interpolants import DriftedPath

__all__ = [
    "EscortedPath", "Forty", "Phi4", "Wells", "learn", "phi4_features", "plane_features",
    "well_features",
]  # fmt: skip

SIDE = 8
EVALUATIONS = (20, 40, 80)  # of the energy, for each walker
WALKERS, LEARNERS, STEP = 1024, 4096, 0.25
Features = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Fields phi (F, B, d) at rows (B, d), and their divergences (F, B)."""


class Phi4(nn.Module):
    """phi^4 on 8 x 8 sites with periodic boundaries, as in `examples/interpolant_known.py`."""

    dim, coupling, quartic = SIDE * SIDE, 0.27, 0.022

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,) of rows (B, 64)."""
        phi = x.view(-1, SIDE, SIDE)
        near = phi.roll(1, 1) + phi.roll(1, 2)
        site = (1 - 2 * self.quartic + self.quartic * phi.square()) * phi.square()
        return (site - 2 * self.coupling * phi * near).sum((1, 2))


class Wells(nn.Module):
    """Eight double wells ``x^4 - 6 x^2 - x / 2``, and eight Gaussian coordinates."""

    dim = 16

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,) of rows (B, 16)."""
        wells, free = x[:, ::2], x[:, 1::2]
        square = wells.square()
        return ((square - 6) * square - wells / 2).sum(1) + free.square().sum(1) / 2


class Forty(nn.Module):
    """Forty equal Gaussians in the plane, their means uniform in a square, far apart.

    The target of Midgley et al. 2023 (arXiv 2208.01893), with means of our own seed: standard
    deviations of 1.31, means from -40 to 40.
    """

    dim, spread, deviation = 2, 40.0, 1.31

    def __init__(self) -> None:
        super().__init__()
        uniform = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
        self.means = self.spread * (2 * uniform - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,) of rows (B, 2), of a normalised density."""
        far = (x[:, None] - self.means).square().sum(-1) / (2 * self.deviation**2)
        return math.log(40 * 2 * math.pi * self.deviation**2) - (-far).logsumexp(1)


def neighbours(x: Tensor) -> Tensor:
    """Sums of the four neighbours of each site, (B, 64)."""
    phi = x.view(-1, SIDE, SIDE)
    return (phi.roll(1, 1) + phi.roll(-1, 1) + phi.roll(1, 2) + phi.roll(-1, 2)).flatten(1)


def phi4_features(x: Tensor) -> tuple[Tensor, Tensor]:
    """Odd fields that have the symmetries of the lattice, of sites, neighbours and means."""
    one, near = x.new_ones(len(x)), neighbours(x)
    m, q = x.mean(1), x.square().mean(1)
    every = torch.ones_like(x)
    found = [
        (x, SIDE**2 * one), (near, 0 * one), (neighbours(near), 4 * SIDE**2 * one),
        (neighbours(neighbours(near)), 0 * one), (x**3, 3 * SIDE**2 * q),
        (x.square() * near, 2 * (x * near).sum(1)), (x * near.square(), near.square().sum(1)),
        (neighbours(x**3), 0 * one), (m[:, None] * every, one),
        (m[:, None] ** 3 * every, 3 * m**2),
        (m[:, None] ** 2 * x, (SIDE**2 + 2) * m**2),
        (m[:, None] * x.square(), 2 * SIDE**2 * m**2 + q),
        (q[:, None] * x, (SIDE**2 + 2) * q), (q[:, None] * m[:, None] * every, q + 2 * m**2),
        (q[:, None] * near, 2 * (x * near).mean(1)), (m[:, None] ** 2 * near, 8 * m**2),
    ]  # fmt: skip
    return torch.stack([value for value, _ in found]), torch.stack([div for _, div in found])


def well_features(x: Tensor) -> tuple[Tensor, Tensor]:
    """Fields whose slopes are bounded, of a well's coordinate, and linear ones of a free one."""
    tanh = [torch.tanh(a * x) for a in (1.0, 2.0, 4.0)]
    s = 1 / (1 + x.square())
    of_wells = [
        (torch.ones_like(x), torch.zeros_like(x)), (x, torch.ones_like(x)),
        *((y, a * (1 - y.square())) for y, a in zip(tanh, (1.0, 2.0, 4.0), strict=True)),
        (s, -2 * x * s.square()), (x * s, (1 - x.square()) * s.square()),
        (s.square(), -4 * x * s**3), (x * s.square(), (1 - 3 * x.square()) * s**3),
    ]  # fmt: skip
    found = []
    for first, own in ((0, of_wells), (1, of_wells[:2])):
        here = torch.zeros_like(x)
        here[:, first::2] = 1.0
        found += [(here * value, (here * slope).sum(1)) for value, slope in own]
    return torch.stack([value for value, _ in found]), torch.stack([div for _, div in found])


def plane_features(x: Tensor, spacing: float = 10.0, edge: float = 50.0) -> tuple[Tensor, Tensor]:
    """Linear fields, and in either direction bumps around the points of a grid."""
    line = torch.arange(-edge, edge + 1, spacing).to(x)
    away = x[None] - torch.cartesian_prod(line, line)[:, None]  # (centres, B, 2)
    bump = (-away.square().sum(-1) / (2 * spacing**2)).exp()
    axes = torch.eye(2).to(x)
    one, zero = x.new_ones(1, len(x)), x.new_zeros(1, len(x))
    fields, divergences = [], []
    for i, j in ((0, 0), (1, 1), (0, 1), (1, 0)):
        fields.append((x[:, j, None] * axes[i])[None])
        divergences.append(one if i == j else zero)
    for i in (0, 1):
        fields.append(bump[..., None] * axes[i])
        divergences.append(-bump * away[..., i] / spacing**2)
    return torch.cat(fields), torch.cat(divergences)


class EscortedPath(DriftedPath):
    """The geometric path between two energies, with a drift that is linear in features.

    Arguments:
        base: energy U_0.
        energy: energy U_1.
        features: fields phi and their divergences.
        times: times t from 0 to 1.
        coefficients: c (F,) at each of them.
    """

    def __init__(
        self, base: noneq.Gaussian, energy: nn.Module, features: Features, times: list[float],
        coefficients: list[Tensor],
    ) -> None:  # fmt: skip
        super().__init__(base)
        self.energy, self.features = energy, features
        self.coefficients = dict(zip(times, coefficients, strict=True))

    def fields(self, x: Tensor, t: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Energies (B,), gradients and drift (B, d) at time t."""
        (u0, start), (u1, end) = evaluate(self.base, x), evaluate(self.energy, x)
        g = (1 - t) * start["g"] + t * end["g"]
        return (1 - t) * u0 + t * u1, {"g": g, "b": self.drift(x, t)}

    def drift(self, x: Tensor, t: float) -> Tensor:
        """The drift (B, d) at one of the times."""
        near = min(self.coefficients, key=lambda time: abs(time - t))  # t may be rounded
        return torch.tensordot(self.coefficients[near], self.features(x)[0], 1)


def fit(
    base: noneq.Gaussian, energy: nn.Module, features: Features, x: Tensor, t: float,
    ridge: float = 1e-6,
) -> Any:  # fmt: skip
    """Coefficients (F,) of the drift at time t, and the share of the variance that it leaves."""
    (u0, start), (u1, end) = evaluate(base, x), evaluate(energy, x)
    phi, divergence = features(x)
    columns = (divergence - (phi * ((1 - t) * start["g"] + t * end["g"])).sum(-1)).double().T
    wanted = (u1 - u0).double()
    columns, wanted = columns - columns.mean(0), wanted - wanted.mean()
    scale = columns.std(0).clamp(min=1e-12)
    columns = columns / scale
    gram = columns.T @ columns / len(x) + ridge * torch.eye(len(phi), dtype=torch.double)
    c = torch.linalg.solve(gram, columns.T @ wanted / len(x))
    left = (wanted - columns @ c).square().mean() / wanted.square().mean()
    return (c / scale).to(x), float(left)


def learn(
    base: noneq.Gaussian, energy: nn.Module, features: Features, times: list[float], n: int,
    rng: torch.Generator, ridge: float = 1e-6,
) -> tuple[EscortedPath, float]:  # fmt: skip
    """Learn the drift by walkers that it carries along, with two MALA moves at each time.

    Returns:
        The path, and the mean share of the variance of dU/dt that the drift leaves.
    """
    x, kernel, path = base.sample(n, rng), MALA(STEP, base.factor), GeometricPath(base, energy)
    found, left = [], []
    for t, later in zip(times, [*times[1:], None], strict=True):
        c, share = fit(base, energy, features, x, t, ridge)
        found.append(c)
        left.append(share)
        if later is None:
            break
        x = x + (later - t) * torch.tensordot(c, features(x)[0], 1)
        walkers = noneq.Walkers.at(x, path.at(later))
        for _ in range(2):
            walkers = walkers.move(kernel, path.at(later), rng)
            kernel = kernel.adapt(walkers.info)
        x = walkers.x
    return EscortedPath(base, energy, features, times, found), sum(left) / len(left)


def escorted(path: EscortedPath, n: int, rng: torch.Generator) -> noneq.Walkers:
    """Carry walkers along the drift, with a MALA move after each step; they are not resampled."""
    times = tuple(path.coefficients)
    assert isinstance(path.base, noneq.Gaussian)
    kernel = Chain((Flow(heun=False), MALA(STEP, path.base.factor)))
    schedule = dataclasses.replace(noneq.Schedule.uniform(len(times) - 1, kernel), betas=times)
    start = noneq.Walkers.sample(path.start, n, rng)
    return noneq.anneal(schedule.forward(path), start, rng, ess_min=0)


def annealed(
    base: noneq.Gaussian, energy: nn.Module, steps: int, n: int, rng: torch.Generator
) -> noneq.Walkers:
    """Anneal walkers by MALA at temperatures that a pilot run chooses; they are not resampled."""
    path = GeometricPath(base, energy)
    schedule = noneq.pilot(path, MALA(0.1, base.factor), rng).resized(steps)
    return noneq.anneal(schedule.forward(path), noneq.Walkers.sample(base, n, rng), rng, ess_min=0)


def fitted(energy: Phi4 | Wells | Forty, rng: torch.Generator) -> noneq.Gaussian:
    """Fit a Gaussian of mean 0 to the second moments of annealed rows, shared by equal sites."""
    scale = energy.spread if isinstance(energy, Forty) else 1.5
    wide = noneq.Gaussian(torch.zeros(energy.dim), noneq.energies.Identity(scale))
    rows = noneq.population(GeometricPath(wide, energy), LEARNERS, 200, rng=rng)[0].equal(
        LEARNERS, rng
    )
    if isinstance(energy, Phi4):
        phi = rows.view(-1, SIDE, SIDE)
        shifts = [phi.roll((a, b), (1, 2)).flatten(1) for a in range(SIDE) for b in range(SIDE)]
        moments = sum(s.T @ s for s in shifts) / (len(shifts) * len(rows))
    elif isinstance(energy, Forty):
        moments = rows.T @ rows / len(rows)
    else:
        moments = (rows.T @ rows / len(rows)).diag()
        moments = (
            torch.cat([moments[::2].mean()[None], moments[1::2].mean()[None]]).repeat(8).diag()
        )
    return noneq.Gaussian(
        torch.zeros(energy.dim), noneq.energies.Cholesky(torch.as_tensor(moments))
    )


class Target(NamedTuple):
    """An energy, and how its drift is fitted: times are ``(k / steps)^power``."""

    energy: Phi4 | Wells | Forty
    features: Features
    power: int = 2
    ridge: float = 1e-6


TARGETS = (
    Target(Phi4(), phi4_features),
    Target(Wells(), well_features),
    Target(Forty(), plane_features, 3, 1e-2),
)


def main(quick: bool = False, seeds: int = 5) -> None:
    """Compare both, with several seeds, and record; what is recorded is not run again.

    Args:
        quick: one seed, few walkers, one number of evaluations; writes nothing.
        seeds: runs of each, each with a base and a drift of its own.
    """
    torch.set_num_threads(1)
    done: list[dict[str, Any]] = [] if quick else recorded("interpolant_escort") or []
    for target in TARGETS:
        name = type(target.energy).__name__
        for seed in range(1 if quick else seeds):
            if any((one["energy"], one["seed"]) == (name, seed) for one in done):
                continue
            done += compared(target, seed, quick)
            if not quick:
                record("interpolant_escort", done)
    show(done)


def compared(target: Target, seed: int, quick: bool) -> list[dict[str, Any]]:
    """Anneal with and without a drift, at each number of evaluations."""
    n, learners = (64, 128) if quick else (WALKERS, LEARNERS)
    energy, features, power, ridge = target
    rng = torch.Generator().manual_seed(seed)
    base, found = fitted(energy, rng), []
    for count in EVALUATIONS[: 1 if quick else None]:
        about = {"energy": type(energy).__name__, "seed": seed, "evaluations": count}
        began = time.process_time()
        found.append(about | _found("annealed", annealed(base, energy, count, n, rng), began))
        times = [(k / (count // 2)) ** power for k in range(count // 2 + 1)]
        began = time.process_time()
        one: dict[str, Any] = {"way": "escorted", "ess": 0.0, "log_z": math.nan, "folded": True}
        try:
            path, left = learn(base, energy, features, times, learners, rng, ridge)
            learned = time.process_time() - began
            began = time.process_time()
            one = _found("escorted", escorted(path, n, rng), began)
            one |= {"left": left, "learning": learned}
        except FloatingPointError:  # a step that is so long that Euler's map folds
            pass
        found.append(about | one)
        print(found[-2], found[-1], flush=True)
    return found


def _found(way: str, walkers: noneq.Walkers, began: float) -> dict[str, Any]:
    z = walkers.log_z
    return {
        "way": way, "ess": float(walkers.ess), "log_z": z.value, "stderr": z.stderr,
        "seconds": time.process_time() - began,
    }  # fmt: skip


def show(done: list[dict[str, Any]]) -> None:
    """Print means over the seeds."""
    lines = []
    for key in dict.fromkeys((o["energy"], o["evaluations"], o["way"]) for o in done):
        mine = [o for o in done if (o["energy"], o["evaluations"], o["way"]) == key]
        z = torch.tensor([o["log_z"] for o in mine if o["ess"]]).double()
        ess = [o["ess"] for o in mine]
        spread = float(z.std() / math.sqrt(len(z))) if len(z) > 1 else math.nan
        seconds = sum(o.get("seconds", 0.0) for o in mine) / len(mine)
        lines.append([
            key[0], str(key[1]), key[2], f"{sum(ess) / len(ess):.3f}", f"{min(ess):.3f}",
            f"{z.mean():.3f} ({spread:.3f})", f"{seconds:.1f}",
        ])  # fmt: skip
    columns = ["energy", "evaluations", "way", "ESS/N", "worst", "log Z, mean (error)", "s"]
    table("Annealed and escorted walkers at equal evaluations", columns, lines)


if __name__ == "__main__":
    tyro.cli(main)
