r"""How long weights should remember: binarised MNIST in the course of training, by one bracket.

The split and the RBM of `experiments.rbm.mnist`; 512 walkers, one move an update, no
rollbacks. The moving average's RBM is judged by the validation rows after 500, 1,000 and 2,000
updates.

    python -m experiments rbm.memory --data mnist10k.npz     half an hour a seed

A record grows by one score at a time, and a course that it has is not run again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import tyro
from threadpoolctl import threadpool_limits

from experiments.common import record, table
from experiments.rbm.mnist import Options, Score, Split, Trained, known, scored, session, split_of

FILE = "rbm_memory"
UPDATES = (500, 1_000, 2_000)
TRUST: Options = {"tau": 0.05}
CELLS: dict[str, Options] = {
    "memory 1": {**TRUST, "forgetting_factor": 1.0},
    "memory 0.97": {**TRUST, "forgetting_factor": 0.97},
    "memory 0.9": {**TRUST, "forgetting_factor": 0.9},
    "memory 0.7": {**TRUST, "forgetting_factor": 0.7},
    "memory 0": {**TRUST, "forgetting_factor": 0.0},
    "no weights, trust region": {**TRUST, "weighted": False, "held_out": None},
    "PCD": {"tau": None, "lr": 1e-3, "weighted": False, "held_out": None, "start": "data"},
}


def course(name: str, split: Split, seed: int, updates: Sequence[int]) -> Iterator[Score]:
    """An RBM's scores after so many updates, in rising order."""
    options = {**CELLS[name], "moves": 1}
    run = session(split.train, seed, iterations=updates[-1], **options)
    run.monitor.margin = math.inf  # it is left to diverge
    for event in run:
        if event.iteration in updates:
            made = Trained(run.average, event.iteration, math.nan)  # judging takes time, too
            yield scored(name, options, seed, made, split, "validation")


def main(
    data: Path,
    names: tuple[str, ...] = tuple(CELLS),
    seeds: tuple[int, ...] = (1,),
    updates: tuple[int, ...] = UPDATES,
    threads: int = 1,
) -> None:
    """Train, score, print and (with all updates) record.

    Args:
        data: an .npz with the array images.
        names: of the cells.
        seeds: of the trainings.
        updates: after which the RBMs are judged.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    split, recorded = split_of(data), updates == UPDATES
    scores = known(FILE) if recorded else []
    for name in names:
        for seed in seeds:
            if (name, seed, updates[-1]) in [(s.contender, s.seed, s.updates) for s in scores]:
                continue
            scores = [s for s in scores if (s.contender, s.seed) != (name, seed)]  # cut short
            for score in course(name, split, seed, updates):
                scores.append(score)
                if recorded:
                    record(FILE, [asdict(s) for s in scores])
    rows = []
    for name in names:
        own = [[s for s in scores if (s.contender, s.updates) == (name, n)] for n in updates]
        rows.append([name, *(" ".join(f"{s.nll:.1f}" for s in some) for some in own)])
    columns = ["", *(f"{n:,} updates" for n in updates)]
    table("Binarised MNIST, validation NLL by seed", columns, rows)


if __name__ == "__main__":
    tyro.cli(main)
