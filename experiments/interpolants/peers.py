r"""Sampling from data by a learned velocity: noneq, torchcfm and flow_matching.

The same for all: x_t = (1 - t) x_0 + t x_1 between standard normal and data rows, a regression of
x_1 - x_0 by the same network (`noneq.models.TimedMLP`, the same weights at first), Adam, the same
rate, batch and number of iterations, and the same steps of Euler's and Heun's method on the same
starts.
Nothing here is weighted: data have no energy that a weight could aim at.

    noneq                `Linear().draw`, `Bridge.velocity_loss`; steps written out below
    noneq, coupled       after `couple`: the batch's optimal assignment (scipy)
    torchcfm             ConditionalFlowMatcher(sigma=0); torchdiffeq's odeint
    torchcfm, coupled    ExactOptimalTransportConditionalFlowMatcher(sigma=0): pairs drawn with
                         replacement from the optimal plan (POT)
    flow_matching        CondOTProbPath; its ODESolver, which is torchdiffeq's odeint
                         (licence: CC BY-NC, for research only)

The distance is sliced Wasserstein's to held-out rows, ``sqrt(mean over directions of W_2^2)``
along random directions, of which 1-d quantiles tell; "rows" are training rows in a sample's place,
the least that can be hoped for. Seconds are the process's; sides take turns, and their order
changes with the seed. Ratios are to noneq without coupling.

    python -m pip install -c constraints.txt -e '.[flows]'
    python -m experiments interpolants.peers            a quarter of an hour on one core
    python -m experiments interpolants.peers --quick    100 iterations, one seed, no record
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import tyro
from flow_matching.path import CondOTProbPath
from flow_matching.solver import ODESolver
from sklearn.datasets import make_moons
from torch import Tensor, nn
from torchcfm import (
    ConditionalFlowMatcher,
    ExactOptimalTransportConditionalFlowMatcher,
)
from torchdiffeq import odeint

import noneq
from experiments.common import record, table
from noneq.models.interpolants import Linear, couple

Loss = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]
Follow = Callable[[nn.Module, Tensor, int, bool], Tensor]

BATCH, RATE, STEPS = 256, 1e-3, 10


class Rows(NamedTuple):
    """To train on and held out."""

    train: Tensor
    held: Tensor
    width: int


def ring(n: int, rng: torch.Generator) -> Tensor:
    """Eight Gaussians on a ring, of masses 1 to 8."""
    which = torch.multinomial(torch.arange(1.0, 9.0), n, replacement=True, generator=rng)
    angle = which * math.pi / 4
    centre = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    return centre + 0.2 * torch.randn(n, 2, generator=rng)


def moons(n: int, seed: int) -> Tensor:
    """scikit-learn's, the noise 0.1, centred."""
    x, _ = make_moons(n, noise=0.1, random_state=seed)
    return 1.5 * (torch.from_numpy(x).float() - torch.tensor([0.5, 0.25]))


def sets() -> dict[str, Rows]:
    """Two in the plane and the digits."""
    rng = torch.Generator().manual_seed(7)
    digits = noneq.data.digits()
    return {
        "ring 2": Rows(ring(4000, rng), ring(4000, rng), 128),
        "moons 2": Rows(moons(4000, 0), moons(4000, 1), 128),
        "digits 64": Rows(digits.train, torch.cat([digits.validation, digits.test]), 256),
    }


# -- the sides


def _ours(coupled: bool) -> Loss:
    interpolant = Linear()

    def loss(net: nn.Module, x0: Tensor, x1: Tensor, rng: torch.Generator) -> Tensor:
        x1 = couple(x0, x1) if coupled else x1
        return interpolant.draw(x0, x1, rng).velocity_loss(net)

    return loss


def _torchcfm(matcher: ConditionalFlowMatcher) -> Loss:
    def loss(net: nn.Module, x0: Tensor, x1: Tensor, _: torch.Generator) -> Tensor:
        t, x, u = matcher.sample_location_and_conditional_flow(x0, x1)
        return (net(x, t) - u).square().sum(1).mean()

    return loss


def _flow_matching(net: nn.Module, x0: Tensor, x1: Tensor, rng: torch.Generator) -> Tensor:
    t = torch.rand(len(x1), generator=rng)
    at = CondOTProbPath().sample(x_0=x0, x_1=x1, t=t)
    return (net(at.x_t, at.t) - at.dx_t).square().sum(1).mean()


def _steps(net: nn.Module, x: Tensor, steps: int, heun: bool) -> Tensor:
    """Euler's or Heun's; `noneq.kernels.Flow` takes them, with a weight, to an energy."""
    h = 1 / steps
    for k in range(steps):
        v = net(x, x.new_full((len(x),), k * h))
        if heun:
            v = (v + net(x + h * v, x.new_full((len(x),), (k + 1) * h))) / 2
        x = x + h * v
    return x


def _odeint(net: nn.Module, x: Tensor, steps: int, heun: bool) -> Tensor:
    times = torch.linspace(0, 1, steps + 1)
    method = "heun2" if heun else "euler"
    end: Tensor = odeint(lambda t, x: net(x, t.expand(len(x))), x, times, method=method)[-1]
    return end


def _solver(net: nn.Module, x: Tensor, steps: int, heun: bool) -> Tensor:
    solver = ODESolver(lambda x, t: net(x, t.expand(len(x))))
    method = "heun2" if heun else "euler"
    end: Tensor = solver.sample(x_init=x, step_size=1 / steps, method=method)
    return end


SIDES: dict[str, tuple[Loss, Follow]] = {
    "noneq": (_ours(False), _steps),
    "torchcfm": (_torchcfm(ConditionalFlowMatcher(sigma=0.0)), _odeint),
    "flow_matching": (_flow_matching, _solver),
    "noneq, coupled": (_ours(True), _steps),
    "torchcfm, coupled": (
        _torchcfm(ExactOptimalTransportConditionalFlowMatcher(sigma=0.0)),
        _odeint,
    ),
}


# -- what is measured


def sliced_wasserstein(a: Tensor, b: Tensor, directions: int = 500) -> float:
    """``sqrt(mean_u W_2^2(a.u, b.u))`` of rows a (k m, d) and b (m, d), k a whole number.

    Bonneel, Rabin, Peyre, Pfister 2015. Between as many numbers W_2^2 is the mean square of the
    differences of the sorted ones; each row of b counts k times.
    """
    rng = torch.Generator().manual_seed(123)
    u = nn.functional.normalize(torch.randn(b.shape[1], directions, generator=rng), dim=0)
    b = b.repeat(len(a) // len(b), 1)
    apart = (a @ u).sort(0).values - (b @ u).sort(0).values
    return float(apart.square().mean().sqrt())


class Run(NamedTuple):
    """One training and its samples."""

    euler: float
    heun: float
    training: float
    sampling: float


def run(rows: Rows, side: str, seed: int, iterations: int) -> Run:
    """Train, sample by both methods, measure."""
    loss, follow = SIDES[side]
    torch.manual_seed(seed)  # torchcfm draws from the global generator
    rng = torch.Generator().manual_seed(seed)
    x = rows.train
    net = noneq.models.TimedMLP(x.shape[1], rows.width, 3, field=True)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    start = time.process_time()
    for _ in range(iterations):
        x1 = x[torch.randint(len(x), (BATCH,), generator=rng)]
        x0 = torch.randn(x1.shape, generator=rng)
        optimizer.zero_grad()
        loss(net, x0, x1, rng).backward()
        optimizer.step()
    training = time.process_time() - start
    copies = math.ceil(4000 / len(rows.held))
    first = torch.randn(
        copies * len(rows.held), x.shape[1], generator=torch.Generator().manual_seed(seed + 100)
    )
    start, found = time.process_time(), []
    with torch.no_grad():
        for heun in (False, True):
            found.append(follow(net, first, STEPS, heun))
    sampling = time.process_time() - start
    return Run(*(sliced_wasserstein(y, rows.held) for y in found), training, sampling)


def compare(rows: Rows, seeds: Sequence[int], iterations: int) -> dict[str, list[Run]]:
    """Every side on every seed, in an order that changes with the seed."""
    found: dict[str, list[Run]] = {side: [] for side in SIDES}
    for seed in seeds:
        order = list(SIDES)[seed % len(SIDES) :] + list(SIDES)[: seed % len(SIDES)]
        for side in order:
            found[side].append(run(rows, side, seed, iterations))
    return found


def floor(rows: Rows, seeds: Sequence[int]) -> list[float]:
    """The distance of as many training rows from the held-out ones."""
    found = []
    for seed in seeds:
        order = torch.randperm(len(rows.train), generator=torch.Generator().manual_seed(seed))
        found.append(sliced_wasserstein(rows.train[order[: len(rows.held)]], rows.held))
    return found


def _told(values: Sequence[float]) -> str:
    spread = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"


def _ratio(runs: Sequence[Run], to: Sequence[Run], what: str) -> float:
    """Median over seeds of the ratio on one seed."""
    pairs = zip(runs, to, strict=True)
    return statistics.median(getattr(a, what) / getattr(b, what) for a, b in pairs)


def main(quick: bool = False) -> None:
    """Print the table and record it."""
    seeds, iterations = ((0,), 100) if quick else ((0, 1, 2), 2000)
    torch.set_num_threads(1)
    result: dict[str, Any] = {"batch": BATCH, "rate": RATE, "iterations": iterations, "sets": {}}
    for name, rows in sets().items():
        found, least = compare(rows, seeds, iterations), floor(rows, seeds)
        lines = [["rows", _told(least), _told(least), "", ""]]
        for side, runs in found.items():
            ratios = [_ratio(runs, found["noneq"], what) for what in ("training", "sampling")]
            distances = [_told([getattr(r, what) for r in runs]) for what in ("euler", "heun")]
            lines.append([side, *distances, *(f"{ratio:.2f}" for ratio in ratios)])
        table(name, ["", f"Euler {STEPS}", f"Heun {STEPS}", "training", "sampling"], lines)
        runs_of = {side: [r._asdict() for r in runs] for side, runs in found.items()}
        result["sets"][name] = {"rows": least, "sides": runs_of}
    if not quick:
        record("interpolant_peers", result)


if __name__ == "__main__":
    tyro.cli(main)
