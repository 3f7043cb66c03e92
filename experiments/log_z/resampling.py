r"""When to resample while annealing, in which order, and by which kernel: errors of log Z.

Populations of 256 walkers are annealed along one frozen schedule of temperatures and step sizes,
which a pilot run found beforehand. They are resampled systematically, each by itself, where the
effective sample size falls below a threshold. "Sorted" puts the walkers of a population in the
order of dU/dbeta, on which their next log-weight depends, before the draw. The kernel is MALA or
the default of annealing: HMC of one leapfrog step that keeps its momentum. Both evaluate the
energy once at a temperature, and each has a schedule of its own.

The root of the mean squared error of log Z over 64 populations is known to about 9 %. log Z is a
closed form, but for the network (experiments/log_z/targets.py).

    python -m experiments log_z.resampling             three minutes on one core
    python -m experiments log_z.resampling --reduced   8 populations, no record: seconds
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass

import torch
import tyro

import noneq
from experiments.common import record, table
from experiments.log_z.targets import Target, target
from noneq.energies import d_beta
from noneq.kernels import default_kernel
from noneq.kernels.default import with_momentum

TARGETS = ("modes", "skewed", "stiff", "network 32")
WAYS = ((0.5, False), (0.5, True), (0.9, True), (1.0, True))
WALKERS, TEMPERATURES = 256, 100


@dataclass(frozen=True)
class Cell:
    """Errors of one way to anneal on one target.

    Attributes:
        target: its name.
        kernel: MALA, or kept momentum.
        ess_min: effective sample size below which a population is resampled; 1 is always.
        ordered: whether walkers are sorted before.
        rmse: root of the mean squared error of log Z, nats.
        bias: mean error of log Z, nats.
    """

    target: str
    kernel: str
    ess_min: float
    ordered: bool
    rmse: float
    bias: float


def anneal(
    t: Target, schedule: noneq.Schedule, ess_min: float, ordered: bool, n: int
) -> torch.Tensor:
    """Return the errors of log Z of n populations."""
    rng, path = torch.Generator().manual_seed(2), t.path()
    walkers = noneq.Walkers.sample(path.start, n * WALKERS, rng, islands=n)
    for model, kernel in schedule.forward(path):
        walkers = walkers.reweight(model)
        order = d_beta(model, walkers.x, walkers.state.cache) if ordered else None
        walkers = walkers.resample(ess_min, rng, order=order).move(kernel, model, rng)
    weights = walkers.weights
    return weights.log_z_start + weights.log_mean_by_island - t.log_z


def cells(name: str, n: int) -> list[Cell]:
    """Anneal towards one target by both kernels in every way."""
    t, found = target(name), []
    path = t.path()
    mala = default_kernel(path.start, torch.zeros(1, t.dim))
    for label, kernel in (("MALA", mala), ("kept momentum", with_momentum(mala))):
        rng = torch.Generator().manual_seed(1)
        schedule = noneq.pilot(path, kernel, rng, n=WALKERS).resized(TEMPERATURES)
        for ess_min, ordered in WAYS:
            e = anneal(t, schedule, ess_min, ordered, n)
            rmse = math.sqrt(float(e.square().mean()))
            found.append(Cell(t.name, label, ess_min, ordered, rmse, float(e.mean())))
            print(found[-1], file=sys.stderr, flush=True)
    return found


def main(reduced: bool = False) -> None:
    """Run all, print the table and record it.

    Arguments:
        reduced: 8 populations instead of 64, and no record.
    """
    torch.set_num_threads(1)
    n = 8 if reduced else 64
    found = [cell for name in TARGETS for cell in cells(name, n)]
    if not reduced:
        print(f"recorded in {record('resampling', [asdict(cell) for cell in found])}")
    named = {0.5: "below 0.5", 0.9: "below 0.9", 1.0: "always"}
    columns = [f"{named[ess_min]}{', sorted' * ordered}" for ess_min, ordered in WAYS]
    rows = []
    for i in range(0, len(found), len(WAYS)):
        row = found[i : i + len(WAYS)]
        rows.append([f"{row[0].target}, {row[0].kernel}", *(f"{c.rmse:.3f}" for c in row)])
    title = f"rms error of log Z, {n} populations of {WALKERS}, {TEMPERATURES} temperatures"
    table(title, ["resampled", *columns], rows)


if __name__ == "__main__":
    tyro.cli(main)
