"""Which kernel, when, at what step: every kernel along the same recorded training paths.

Three paths (experiments/kernels/paths.py), every kernel at equal evaluations
(experiments/kernels/walks.py) on one grid of step sizes, walked twice: without resampling
(effective sample size, dissipated work, and the gradient without weights) and resampled below half
(log Z, the gradient with weights). Then the noise that unadjusted kernels have at fixed parameters
(experiments/kernels/noise.py), resampling thresholds and schemes, and preconditioners. What it
found is in docs/kernel_study.md.

    python -m experiments kernels.study            about twelve minutes on one core
    python -m experiments kernels.study --quick    shorter paths, fewer walkers; writes nothing
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import time
from dataclasses import replace

import torch
import tyro
from rich.progress import track

from experiments.common import RESULTS, record
from experiments.kernels.noise import on_known, on_path
from experiments.kernels.paths import Path, recorded
from experiments.kernels.report import Budget, Resampled, Study, best, named, plain, report
from experiments.kernels.walks import Outcome, Sizes, contenders, reference, walk
from noneq.walkers import multinomial, residual, stratified, systematic

SCHEMES = (systematic, stratified, residual, multinomial)
THRESHOLDS = (0.1, 0.5, 0.9)
#: step sizes in units of the reference step: lowest and highest exponent of 2
GRIDS = {"mixture": (-4, 1), "rbm": (-4, 2), "digits": (-6, -1)}
SIZES = {"mixture": Sizes(32, 32), "rbm": Sizes(64, 32), "digits": Sizes(32, 16)}


def steps(path: Path, quick: bool, coarse: int = 1) -> list[float]:
    """The grid of step sizes."""
    low, high = GRIDS[path.name]
    exponents = range(low, high + 1, 3 if quick else coarse)
    return [2.0**j * reference(path) for j in exponents]


def main(quick: bool = False, threads: int = 1) -> None:
    """Run the study, print it, record it and draw it.

    Args:
        quick: shorter paths, fewer walkers and steps; writes nothing.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    study, text = run(quick), io.StringIO()
    with contextlib.redirect_stdout(text):
        report(study)
    print(text.getvalue())
    if not quick:
        from experiments.kernels.figures import draw

        path = record("kernel_study", plain(study))
        (RESULTS / "kernel_study.txt").write_text(text.getvalue())
        draw(json.loads(path.read_text())["data"])


def run(quick: bool = False) -> Study:
    """All measurements; a line for each part that is done."""
    began = time.perf_counter()
    paths = [recorded(name, quick=quick) for name in GRIDS]
    truths = {p.name: [_truth(k, p) for k in p.truths] for p in paths}
    without: dict[str, list[Outcome]] = {}
    within: dict[str, list[Outcome]] = {}
    for path in paths:
        sizes = replace(SIZES[path.name], islands=8) if quick else SIZES[path.name]
        grid = steps(path, quick)
        cells = [(c, h) for c in contenders(path) for h in (grid if c.steps else grid[:1])]
        shown = track(cells, path.name, transient=True)
        both = [
            (walk(path, c, h, sizes), walk(path, c, h, replace(sizes, ess_min=0.5)))
            for c, h in shown
        ]
        without[path.name], within[path.name] = ([pair[i] for pair in both] for i in (0, 1))
    noise = on_known([0.1, 0.2] if quick else [0.025, 0.05, 0.1, 0.2], 800 if quick else 4000)
    for path in paths:
        noise[path.name] = on_path(path, steps(path, quick, 2))
    mixture, rbm, digits = paths
    return Study(
        {name: sizes.n for name, sizes in SIZES.items()},
        truths,
        without,
        within,
        preconditioned(digits, quick),
        noise,
        [*resampling(mixture, within, quick), *resampling(rbm, within, quick)],
        [b for path in paths for b in budgets(path, within, quick)],
        time.perf_counter() - began,
    )


def _truth(k: int, path: Path) -> dict[str, object]:
    t = path.truths[k]
    return {
        "update": k,
        "log_z": t.log_z,
        "stderr": t.stderr,
        "floor": t.floor,
        "alarms": t.alarms,
    }


def preconditioned(path: Path, quick: bool) -> list[Outcome]:
    """Three kernels under each preconditioner of the digits, resampled below half."""
    sizes = replace(SIZES["digits"], ess_min=0.5, islands=8 if quick else 32)
    names = ("MALA",) if quick else ("MALA", "HMC, 4 leaps", "ULA, Algorithm 1")
    cells = itertools.product(names, list(path.factors)[1:], steps(path, quick, 2))
    return [walk(path, named(name), h, sizes, factor) for name, factor, h in cells]


def budgets(path: Path, found: dict[str, list[Outcome]], quick: bool) -> list[Budget]:
    """Evaluations an update, each kernel at the step that is best at the usual number."""
    names = ("MALA", "HMC, 4 leaps") if path.factors else ("block Gibbs", "discrete Langevin")
    rows = []
    for name, budget in itertools.product(names, (4, 16) if quick else (1, 2, 4, 8, 16)):
        who = named(name)
        if budget < who.leapfrog_steps:
            continue
        sizes = replace(SIZES[path.name], ess_min=0.5, budget=budget, seed=6)
        o = walk(path, who, best(found[path.name], name).h, sizes)
        gradient = o.weighted.mse if o.weighted else math.nan
        rows.append(Budget(path.name, name, budget + 1, o.log_z_mse, gradient))
    return rows


def resampling(path: Path, found: dict[str, list[Outcome]], quick: bool) -> list[Resampled]:
    """Thresholds and schemes for an exact and an unadjusted kernel, each at its best step."""
    names = ("MALA", "ULA, Algorithm 1") if path.factors else ("block Gibbs", "unadjusted DL")
    islands = 8 if quick else (48 if path.factors else 192)
    rows = []
    choices = [(0.0, systematic), *itertools.product(THRESHOLDS, SCHEMES)]
    for name, (threshold, scheme) in track(
        list(itertools.product(names, choices)), transient=True
    ):
        sizes = replace(
            SIZES[path.name], islands=islands, ess_min=threshold, scheme=scheme, seed=5
        )
        o = walk(path, named(name), best(found[path.name], name).h, sizes)
        gradient = o.weighted.mse if o.weighted else math.nan
        rows.append(
            Resampled(
                path.name,
                name,
                threshold,
                scheme.__name__ if threshold else "none",
                o.log_z_error,
                o.log_z_variance,
                gradient,
                o.resampled,
            )
        )
    return rows


if __name__ == "__main__":
    tyro.cli(main)
