r"""What weights cost on the way along an interpolant, against the bare diffusion.

The same network, the same steps: bare is the loop of Euler and Maruyama, one evaluation of the
network a step, without energies, weights or resampling; weighted is `noneq.anneal`. Ratios are
medians over turns that alternate in one process, in seconds of the processor, which a busy machine
changes less than those of the clock. Of K steps the weighted walkers need K + 1 evaluations: the
last is that of the way back.

    python -m benchmarks.interpolants           half a minute
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median

import torch
import tyro
from torch import Tensor, nn

import noneq
from benchmarks import RESULTS
from experiments.common import record, table
from noneq.models.interpolants import (
    DriftedPath,
    EnergyPath,
    Linear,
    TimedEnergy,
    Trigonometric,
    VelocityPath,
)

DIM, EPS, STEPS = 64, 0.5, 40


class Quartic(nn.Module):
    """A known energy, near the base, so that untrained fields lead there."""

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        square = x.square()
        return ((0.5 + 1e-3 * square) * square).sum(1)


def bare(path: VelocityPath | EnergyPath, steps: int, x: Tensor, rng: torch.Generator) -> Tensor:
    """Unweighted: drift, score and noise."""
    h = 1 / steps
    root = math.sqrt(2 * EPS * h)
    for k in range(steps):
        b, s = _fields(path, x, k * h)
        x = x + h * (b + EPS * s) + root * torch.randn(x.shape, generator=rng)
    return x


def _fields(path: VelocityPath | EnergyPath, x: Tensor, t: float) -> tuple[Tensor, Tensor]:
    if isinstance(path, EnergyPath):
        energy = path.energy
        leaf, c = x.requires_grad_(True), energy.interpolant.at(t)
        (df,) = torch.autograd.grad(energy.net(leaf, x.new_full((len(x),), t)).sum(), leaf)
        x.requires_grad_(False)
        g = energy.base.evaluate(x)[1]["g"] / c.width + c.beta * df
        return path._drift(df, c, x), -g
    with torch.no_grad():
        c = path.interpolant.at(t)
        v = path.velocity(x, x.new_full((len(x),), t))
        s = path._score(x, t, v, c)
        return (v - c.gamma_d_gamma * s if path.denoiser else v), s


def weighted(
    path: DriftedPath, steps: int, x: Tensor, rng: torch.Generator, ess_min: float = 0
) -> noneq.Walkers:
    """The same, with weights; with ``ess_min=1`` resampled after every step."""
    walkers = noneq.Walkers.at(x, path.start, log_z=path.start.log_z())
    schedule = noneq.Schedule.uniform(steps, noneq.kernels.EulerMaruyama(EPS))
    return noneq.anneal(schedule.forward(path), walkers, rng, ess_min=ess_min)


def paths(width: int) -> dict[str, VelocityPath | EnergyPath]:
    """One network for the velocity; two, with a denoiser; one for an energy."""
    torch.manual_seed(0)
    base = noneq.Gaussian(torch.zeros(DIM), noneq.energies.Cholesky(torch.eye(DIM)))

    def field() -> nn.Module:
        return noneq.models.TimedMLP(DIM, width, 3, field=True)

    energy = TimedEnergy(base, noneq.models.TimedMLP(DIM, width, 3), 0.3)
    return {
        "velocity": VelocityPath(Trigonometric(), base, Quartic(), field()),
        "velocity, energies at the ends": VelocityPath(
            Trigonometric(), base, Quartic(), field(), between=False
        ),
        "velocity and denoiser": VelocityPath(Linear(1.0), base, Quartic(), field(), field()),
        "energy": EnergyPath(energy),
    }


def _seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def times(path: VelocityPath | EnergyPath, steps: int, n: int, turns: int) -> dict[str, float]:
    """Median seconds of the bare loop, and the medians of the ratios to it."""
    rng = torch.Generator().manual_seed(0)
    x = path.base.sample(n, rng)
    calls = {
        "bare": lambda: bare(path, steps, x, rng),
        "weighted": lambda: weighted(path, steps, x, rng),
        "resampled": lambda: weighted(path, steps, x, rng, ess_min=1),
    }
    found = []
    for turn in range(turns + 1):
        order = list(calls) if turn % 2 else list(calls)[::-1]
        found.append({name: _seconds(calls[name]) for name in order})
    found = found[1:]  # the first warms up
    ratios = {k: median(f[k] / f["bare"] for f in found) for k in ("weighted", "resampled")}
    return {"bare": median(f["bare"] for f in found), **ratios}


def main(turns: int = 11, n: int = 1024, threads: int = 1) -> None:
    """Time all, print the table and record it.

    Args:
        turns: of each kind.
        n: walkers.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    rows, found = [], []
    for width in (256, 512):
        for name, path in paths(width).items():
            took = times(path, STEPS, n, turns)
            head = [f"{name}, width {width}", f"{1e3 * took['bare']:.0f} ms"]
            rows.append([*head, f"{took['weighted']:.3f}", f"{took['resampled']:.3f}"])
            found.append({"path": name, "width": width, **took})
    title = f"{STEPS} steps of {n:,} walkers in {DIM} dimensions; ratios to the bare loop"
    table(title, ["network", "bare", "weighted", "resampled at every step"], rows)
    data = {"steps": STEPS, "walkers": n, "dim": DIM, "turns": turns, "found": found}
    print(f"recorded in {record('interpolant_cost', data, RESULTS)}")


if __name__ == "__main__":
    tyro.cli(main)
