"""The bias of contrastive divergence on RBMs that can be enumerated, and what it costs.

gradient    every sampler along the same recorded courses (experiments/cd_bias/walks.py), PCD's
drift
            predicted by theory (experiments/cd_bias/law.py)
training    the factorial table: weights (kept, fading, none) x trust region x start
            (experiments/cd_bias/training.py)
remedy      renewals and exchanges where modes do not mix (experiments/cd_bias/remedy.py)

Each part is recorded in experiments/results/rbm_bias_PART.json; what was found is in
docs/rbm_bias.md.

    python -m experiments cd_bias.study               all parts, then the tables and figures
    python -m experiments cd_bias.study gradient      one part
    python -m experiments cd_bias.study report        tables and figures from what is recorded
    python -m experiments cd_bias.study --quick       shorter, smaller; writes nothing
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Literal

import torch
import tyro
from rich.progress import track

from experiments.cd_bias.course import COURSES, recorded
from experiments.cd_bias.law import response
from experiments.cd_bias.remedy import REMEDIES, remedied
from experiments.cd_bias.training import CELLS, HIDDEN, Name, table_of
from experiments.cd_bias.walks import SAMPLERS, walk
from experiments.common import record

POPULATIONS, ROWS, SEEDS = 64, 64, 3
TAU = 0.5  # of the remedies: the factorial table's best
LAW: tuple[int, ...] = (1, 10)  # sweeps of the chains whose law is predicted
Part = Literal["all", "gradient", "training", "remedy", "report"]


def gradient(quick: bool = False) -> dict[str, Any]:
    """Every sampler on every course, and the law of persistent chains on the smallest."""
    populations, updates = (8, 40) if quick else (POPULATIONS, 240)
    rows, began = [], time.process_time()
    for name in COURSES:
        if quick and name == "digits":
            continue
        course = recorded(name, updates=updates)
        for who in track(SAMPLERS, name, transient=True):
            start = time.process_time()
            found = walk(course, who, populations, ROWS)
            rows.append(
                {
                    "course": name,
                    **asdict(who),
                    "cost": who.cost,
                    "updates": list(course.truths),
                    "errors": [asdict(j) for j in found],
                    "seconds": time.process_time() - start,
                }
            )
        if name == "far 14":
            predicted = response(course, LAW)
            unit = {t: course.truths[t].floor / ROWS for t in course.truths}
            law = [
                {
                    "sweeps": k,
                    "updates": list(predicted),
                    "exact": [
                        float(r[i].exact.square().sum()) / unit[t] for t, r in predicted.items()
                    ],
                    "linear": [
                        float(r[i].linear.square().sum()) / unit[t] for t, r in predicted.items()
                    ],
                    "memory": [r[i].memory for r in predicted.values()],
                }
                for i, k in enumerate(LAW)
            ]
    return {"samplers": rows, "law": law, "rows": ROWS, "seconds": time.process_time() - began}


def training(quick: bool = False) -> dict[str, Any]:
    """The factorial table on every set."""
    began = time.process_time()
    names: list[Name] = ["far"] if quick else list(HIDDEN)
    rows = []
    for name in names:
        # the exact gradient of 20 hidden units takes seconds
        cells = [c for c in CELLS if not (c.exact and name == "digits")]
        for cell in track(cells, name, transient=True):
            rows += table_of(name, cell, 1 if quick else SEEDS)
    return {"runs": [asdict(r) for r in rows], "seconds": time.process_time() - began}


def remedy(quick: bool = False) -> dict[str, Any]:
    """Renewals and exchanges on far clusters and digits, at one tau."""
    began, rows = time.process_time(), []
    names: dict[Name, int] = {"far": 1} if quick else {"far": SEEDS, "digits": 2}
    for name, seeds in names.items():
        # on the digits, which take long to score, not those of few walkers
        cells = [c for c in REMEDIES if name == "far" or c.rows != 64]
        for cell in track(cells, name, transient=True):
            rows += [remedied(name, cell, seed, TAU) for seed in range(seeds)]
    return {"runs": [asdict(r) for r in rows], "seconds": time.process_time() - began}


def main(part: tyro.conf.Positional[Part] = "all", quick: bool = False, threads: int = 1) -> None:
    """Run, record and report.

    Args:
        part: one of them, or all.
        quick: shorter and smaller; writes nothing.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    for name, run in {"gradient": gradient, "training": training, "remedy": remedy}.items():
        if part in ("all", name):
            found = run(quick)
            if not quick:
                print(f"recorded in {record(f'rbm_bias_{name}', found)}")
    if not quick:
        from experiments.cd_bias.report import report

        report()


if __name__ == "__main__":
    tyro.cli(main)
