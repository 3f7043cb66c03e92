r"""log Z by tempered SMC: noneq, blackjax and particles on the same targets.

noneq against blackjax, the same for both: target and base (experiments/log_z/targets.py), float32,
one core, N particles from the base, one population, systematic resampling, number of moves, MALA
or HMC preconditioned by the base's covariance (for blackjax x is whitened, which costs it less
than a dense mass matrix). Rows that name a number of temperatures have the very same temperatures
and step sizes, found beforehand by `noneq.pilot` and in nobody's seconds. In rows that name an ESS
each finds them by itself, in its seconds: noneq's pilot on walkers of its own and then a frozen
schedule, blackjax on the particles that it weighs; the same share of the ESS is kept, and the step
follows the same rule, log h grows by (acceptance - goal) / 2.

Not the same, each library being as it is: blackjax resamples at every temperature, noneq below an
ESS of 0.9, its walkers lined up; blackjax evaluates the gradient anew after resampling and the
energy once more for the weights, noneq carries both; blackjax's particles are positions, so that
in the GHMC rows, which are noneq's default kernel, it draws every momentum anew (HMC of as many
leaps); blackjax compiles the whole run, noneq the energy of a closed form with its gradient
(`noneq.energies.Compiled`) and calls the rest operation by operation. A first run of the same
shapes is left out of the seconds of both.

The figure is the mean squared error of log Z over seeds times the median seconds of a run: more
particles at the same rate leave it as it is, so that each library may have as many as suit it.
Every setting is run on the same seeds; then each library's best setting for a target is run on 200
fresh ones, best against best. Ratios below 1 are for noneq; in brackets the middle 68 % of a
bootstrap over seeds. z: of the mean of Z-hat, which is unbiased where the schedule is frozen,
against the truth, and of the two against each other. Seconds are the process's, not the clock's,
so that other work on the machine counts less.

particles (random walk, waste-free, adaptive, float64 numpy: its defaults) meets noneq's best on
the targets of up to 32 dimensions. Its 0.3 is the last that allows numpy 2.

    python -m pip install -c constraints.txt -e '.[peers]'
    python -m experiments log_z.smc_peers                an hour; goes on where it was killed
    python -m experiments log_z.smc_peers --quick        few seeds, no record
    python -m experiments log_z.smc_peers --references   the networks' log Z, for targets.py
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro

import noneq
from experiments.common import record, recorded, table
from experiments.log_z.peers import Run, Setting, blackjaxs, ours, random_walks, schedule_of
from experiments.log_z.targets import TARGETS, Target, target

RECORD = "log_z_peers"
SMALL = (
    Setting(512, 100, 1),
    Setting(256, 50, 4),
    Setting(256, 50, 1, leapfrog_steps=4),
    Setting(256, 200, 1, leapfrog_steps=1, friction=1.0),
    Setting(256, 100, 1, leapfrog_steps=2, friction=1.0),
    Setting(256, 0, 2, leapfrog_steps=4, ess=0.9),
)
LARGE = (
    Setting(2048, 100, 1),
    Setting(2048, 50, 1, leapfrog_steps=4),
    Setting(2048, 25, 4, leapfrog_steps=4),
    Setting(2048, 200, 1, leapfrog_steps=1, friction=1.0),
    Setting(2048, 100, 1, leapfrog_steps=2, friction=1.0),
)
"""Only for closed forms: a network's time grows with the number of walkers from 256 on."""


class Runs(NamedTuple):
    """One library's runs of one setting."""

    log_z: list[float]
    seconds: list[float]


@dataclass(frozen=True)
class Cell:
    """A target and a setting of each library."""

    target: str
    noneq: str
    peer: str
    truth: float
    rmse: tuple[float, float]
    seconds: tuple[float, float]
    z: tuple[float, float]
    apart: float
    ratio: float
    interval: tuple[float, float]
    runs: tuple[Runs, Runs]


def alternately(sides: Sequence[Run], seeds: Sequence[int]) -> list[Runs]:
    """All sides once in turn for every seed, after one run each that counts for nothing."""
    found = [Runs([], []) for _ in sides]
    for seed in (seeds[0] + 10_000, *seeds):
        for run, runs in zip(sides, found, strict=True):
            began = time.process_time()
            log_z = run(seed)
            if seed in seeds:
                runs.log_z.append(log_z)
                runs.seconds.append(time.process_time() - began)
    return found


def cost(runs: Runs, truth: float) -> float:
    """Mean squared error times median seconds."""
    return float(np.square(np.array(runs.log_z) - truth).mean() * np.median(runs.seconds))


def mean_z(runs: Runs, truth: float) -> tuple[float, float]:
    """``Z-hat / Z - 1``: its mean over runs and the standard error of that."""
    z = np.exp(np.array(runs.log_z) - truth)
    return float(z.mean()) - 1, float(z.std(ddof=1)) / math.sqrt(len(z))


def cell(t: Target, names: tuple[str, str], runs: Sequence[Runs]) -> Cell:
    """What two libraries' runs say of each other."""
    truth, both = t.log_z, (runs[0], runs[1])
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(2000):
        costs = []
        for r in both:
            i = rng.integers(len(r.log_z), size=len(r.log_z))
            costs.append(np.square(np.array(r.log_z)[i] - truth).mean() * np.median(r.seconds))
        drawn.append(costs[0] / costs[1])
    low, high = np.quantile(drawn, [0.16, 0.84])
    (a, a_error), (b, b_error) = (mean_z(r, truth) for r in both)
    rmse, seconds = (
        (math.sqrt(cost(r, truth) / np.median(r.seconds)) for r in both),
        (float(np.median(r.seconds)) for r in both),
    )
    return Cell(
        t.name,
        *names,
        truth,
        tuple(rmse),  # type: ignore[arg-type]
        tuple(seconds),  # type: ignore[arg-type]
        (a / math.hypot(a_error, t.stderr), b / math.hypot(b_error, t.stderr)),
        (a - b) / math.hypot(a_error, b_error),
        cost(both[0], truth) / cost(both[1], truth),
        (float(low), float(high)),
        both,
    )


def compared(name: str, settings: Sequence[Setting], seeds: int, fresh: int) -> Iterator[Cell]:
    """Every setting, then each library's best against the other's, on fresh seeds."""
    t = target(name)
    tried = []
    for setting in settings:
        schedule = None if setting.ess else schedule_of(t, setting)
        theirs = blackjaxs(t, setting, schedule)
        runs = alternately((ours(t, setting, schedule), theirs), range(seeds))
        tried.append((setting, schedule, theirs, runs))
        yield cell(t, (setting.name, "the same"), runs)
    own, frozen, *_ = min(tried, key=lambda one: cost(one[3][0], t.log_z))
    other, _, theirs, _ = min(tried, key=lambda one: cost(one[3][1], t.log_z))
    mine = ours(t, own, frozen)
    runs = alternately((mine, theirs), range(100, 100 + fresh))
    yield cell(t, (f"best: {own.name}", f"best: {other.name}"), runs)
    if t.net is None and t.dim <= 32:
        runs = alternately((mine, random_walks(t, 100)), range(500, 500 + seeds))
        yield cell(t, (f"best: {own.name}", "particles, 100 chains of 10"), runs)


def find_references() -> None:
    """log Z of the networks: noneq from both sides, and five runs of blackjax to check it."""
    for name in ("network 32", "network 64"):
        t, check = target(name), Setting(2048, 100, 4, leapfrog_steps=4)
        kernel = Setting(2048, 250, 1, leapfrog_steps=8).kernel(t.base).kernel
        z = noneq.log_z(t.path().end, n=2048, temperatures=250, kernel=kernel, equilibrate=50)
        weights = [side.stderr**-2 for side in (z.forward, z.backward)]
        value = np.average([z.forward.value, z.backward.value], weights=weights)
        print(
            f"{name}: {value:.3f} ± {sum(weights) ** -0.5:.3f}; {z.forward}, {z.backward}, "
            f"{z.alarms}"
        )
        run = blackjaxs(t, check, schedule_of(t, check))
        other = np.array([run(seed) for seed in range(5)])
        stderr = other.std(ddof=1) / math.sqrt(len(other))
        print(f"blackjax: {other.mean():.3f} ± {stderr:.3f}", flush=True)


def row(c: dict[str, Any]) -> list[str]:
    """A line of the table, of the fields of a `Cell`."""
    pairs = [
        ", ".join(f"{value:{how}}" for value in c[key])
        for key, how in (("rmse", ".3f"), ("seconds", ".3f"), ("z", "+.1f"))
    ]
    low, high = c["interval"]
    return [
        c["target"], c["noneq"], c["peer"], *pairs, f"{c['apart']:+.1f}",
        f"{c['ratio']:.2f} ({low:.2f} to {high:.2f})",
    ]  # fmt: skip


COLUMNS = ["target", "noneq", "the other", "rms error, nats", "seconds"]
COLUMNS += ["z, truth", "z, apart", "error² x s, ratio"]


def main(
    names: tuple[str, ...] = tuple(TARGETS),
    seeds: int = 20,
    fresh: int = 200,
    references: bool = False,
    quick: bool = False,
) -> None:
    """Run the comparison, print it and record it; a target that is recorded is not run again.

    Arguments:
        names: of the targets.
        seeds: of every setting.
        fresh: further seeds, on which the best setting of each library is run.
        references: only find the networks' log Z.
        quick: four seeds of three settings; no record.
    """
    torch.set_num_threads(1)
    if references:
        find_references()
        return
    cells: list[dict[str, Any]] = [] if quick else recorded(RECORD) or []
    for name in names:
        known = target(name)
        if any(c["target"] == known.name for c in cells):
            continue
        settings = SMALL if known.net is not None else SMALL + LARGE
        settings = settings[2:5] if quick else settings
        found = []
        for c in compared(name, settings, 4 if quick else seeds, 4 if quick else fresh):
            found.append(asdict(c))
            print(*row(found[-1]), sep=" | ", file=sys.stderr, flush=True)
        cells += found
        if not quick:  # what was found so far, should the next be cut short
            record(RECORD, cells)
    table("log Z by tempered SMC, noneq first in each pair", COLUMNS, [row(c) for c in cells])


if __name__ == "__main__":
    tyro.cli(main)
