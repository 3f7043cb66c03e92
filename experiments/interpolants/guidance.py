r"""Should a reward guide the drift as well as the score? The effective sample size decides.

Walkers follow the exact path from a Gaussian to a mixture of three in the plane, tilted by the
reward r(x) = 1.5 sin(2 x_0) - 1.2 x_1 + 0.5 x_0 x_1, by K steps of Euler and Maruyama. The
energies are ``U(x, t) - t r(x)`` and the score is ``s + t grad r`` in every run. The drift stays
as it was (the default of `noneq.models.interpolants.RewardPath`), or it is changed as the changed
score implies (``whole=True``), or by half of that. Walkers are not resampled, and weights are
exact in every run, so the effective sample size is what the choice costs.

    python -m experiments interpolants.guidance              about a minute on one core
    python -m experiments interpolants.guidance --reduced    2,000 walkers, no record: seconds
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import tyro
from torch import Tensor

import noneq
from experiments.common import record, table
from experiments.interpolants.steps import target
from noneq.energies import Cache
from noneq.models.interpolants import (
    DriftedPath,
    Interpolant,
    Linear,
    MixturePath,
    RewardPath,
    Trigonometric,
)

STEPS = (10, 20, 40)
EPS = (0.3, 1.0, 2.0)
WAYS = {"drift as it was": 0.0, "half": 0.5, "whole": 1.0}
INTERPOLANTS: dict[str, Interpolant] = {"linear": Linear(), "trigonometric": Trigonometric()}


@dataclass(frozen=True)
class Run:
    """The effective sample sizes of K steps, one for each of `EPS`: of every seed, and means."""

    interpolant: str
    drift: str
    steps: int
    seeds: tuple[tuple[float, ...], ...]
    ess: tuple[float, ...]


class Between(DriftedPath):
    """Mix the drifts of a path that is tilted by a reward, with and without their change."""

    def __init__(self, path: MixturePath, share: float) -> None:
        super().__init__(path.base)
        self.bare, self.whole = RewardPath(path, reward), RewardPath(path, reward, whole=True)
        self.share = share

    def fields(self, x: Tensor, t: float) -> tuple[Tensor, Cache]:
        """Compute the energies, and a cache of which only the drift is mixed."""
        u, cache = self.bare.fields(x, t)
        changed = self.whole.fields(x, t)[1]["b"]
        return u, {**cache, "b": cache["b"].lerp(changed, self.share)}

    def drift(self, x: Tensor, t: float) -> Tensor:
        """Compute the mixed drift."""
        return self.bare.drift(x, t).lerp(self.whole.drift(x, t), self.share)


def reward(x: Tensor) -> Tensor:
    """Compute r(x)."""
    a, b = x[:, 0], x[:, 1]
    return 1.5 * (2 * a).sin() - 1.2 * b + 0.5 * a * b


def run(name: str, drift: str, steps: int, n: int, seeds: int) -> Run:
    """Carry n walkers for each seed and each noise of `EPS`."""
    start = noneq.Gaussian(torch.zeros(2, dtype=torch.float64), noneq.energies.Identity(1.5))
    way = Between(MixturePath(INTERPOLANTS[name], start, target()), WAYS[drift])
    found = []
    for eps in EPS:
        schedule = noneq.Schedule.uniform(steps, noneq.kernels.EulerMaruyama(eps))
        values = []
        for seed in range(seeds):
            rng = torch.Generator().manual_seed(seed)
            walkers = noneq.Walkers.sample(way.start, n, rng, islands=1)
            values.append(noneq.anneal(schedule.forward(way), walkers, rng, ess_min=0).ess)
        found.append(tuple(values))
    return Run(name, drift, steps, tuple(found), tuple(sum(v) / seeds for v in found))


def main(reduced: bool = False) -> None:
    """Run all, print the table and record it.

    Arguments:
        reduced: 2,000 walkers of one seed, and no record.
    """
    torch.set_num_threads(1)
    n, seeds = (2_000, 1) if reduced else (10_000, 4)
    runs = [
        run(name, drift, steps, n, seeds)
        for name in INTERPOLANTS
        for drift in WAYS
        for steps in STEPS
    ]
    columns = ["ESS/N at eps =", *(f"{eps:g}" for eps in EPS), "best"]
    rows = [
        [
            f"{r.interpolant}, {r.drift}, K = {r.steps}",
            *(f"{e:.3f}" for e in r.ess),
            f"{max(r.ess):.3f}",
        ]
        for r in runs
    ]
    table(f"Guidance by a reward, {seeds} x {n:,} walkers", columns, rows)
    if not reduced:
        data = {"walkers": n, "seeds": seeds, "eps": EPS, "runs": [asdict(r) for r in runs]}
        print(f"recorded in {record('interpolant_guidance', data)}")


if __name__ == "__main__":
    tyro.cli(main)
