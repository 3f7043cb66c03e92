r"""Restricted Boltzmann RBMs on DNA splice rows by the processor's time: noneq, scikit-learn.

3,186 rows of 180 bits (`DNA` of R's package mlbench: 60 places, three bits each), a seeded split:
2,000 to train, 500 to choose by, 686 to report on once. 16 and 64 hidden units, 5 and 18 seconds
of the processor (`time.process_time`) on one thread, three seeds.

============ ===================================================================================
noneq        `noneq.estimators.RBM`, three trials of the trust region tau; as many passes as the
             time allows, by a first, shorter fit; its own defaults else but for n_moves=1,
             n_walkers=256 and no rows set aside
scikit-learn its BernoulliRBM, batches of 50, three trials of the learning rate, until the time
             is up
============ ===================================================================================

The validation rows choose one trial of each, with the first seed; its RBMs are read on the
test rows, one a seed. The likelihood is the same for both: exact with 16 hidden units, else
`noneq.log_z` from both sides of the same numbers (W, b, c), the larger side counts.

    apt-get install r-cran-mlbench && pip install -c constraints.txt -e .[dna]
    python -m experiments rbm.dna --data /usr/lib/R/site-library/mlbench/data/DNA.rda
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import noneq
from experiments.common import COMMIT, record, table
from noneq.estimators import RBM
from noneq.likelihood.score import energy_of

Bits = NDArray[np.float64]
Options = dict[str, Any]
TRAIN, VALIDATION = 2_000, 500  # all rows that defaults were looked at with are among the 500
EFFORT = {"validation": (256, 400), "test": (256, 800)}  # walkers, temperatures


@dataclass(frozen=True)
class Score:
    """An RBM's likelihood, in nats a row, and the rows' own in their order, to hundredths."""

    contender: str
    hidden: int
    allowed: float
    rows: str
    options: Options
    seed: int
    nll: float
    stderr_z: float
    alarms: tuple[str, ...]
    updates: int
    seconds: float
    commit: str
    each: str


def rows_of(path: Path, seed: int = 0) -> dict[str, Bits]:
    """The rows of the file, split: 3,186 of 180 bits."""
    import rdata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has no encoding, for every name
        frame = rdata.read_rda(path)["DNA"]
    x = frame.drop(columns="Class").astype(str).to_numpy().astype(np.float64)
    order = np.random.default_rng(seed).permutation(len(x))
    parts = np.split(x[order], [TRAIN, TRAIN + VALIDATION])
    return dict(zip(("train", "validation", "test"), parts, strict=True))


# -- contenders: (rows, hidden units, seconds, seed, options) -> RBM, updates, seconds


def ours(
    x: Bits, hidden: int, seconds: float, seed: int, options: Options
) -> tuple[RBM, int, float]:
    """As many passes as fit: a fit that takes too long or too short is thrown away."""

    def fitted(passes: int) -> tuple[RBM, float]:
        how = {"n_walkers": 256, "n_moves": 1, "validation_fraction": 0.0, **options}
        model, began = RBM(hidden, n_iter=passes, random_state=seed, **how), time.process_time()
        return model.fit(x), time.process_time() - began

    fitted(2)
    passes = max(2, math.floor(6 * seconds / fitted(6)[1] * 0.97))
    for _ in range(4):
        model, took = fitted(passes)
        if 0.93 * seconds < took < 1.01 * seconds:
            break
        passes = max(2, math.floor(passes * 0.97 * seconds / took))
    return model, model._training.iteration, took


def theirs(
    x: Bits, hidden: int, seconds: float, seed: int, options: Options
) -> tuple[Any, int, float]:
    """Its own loop over batches, until the time is up."""
    from sklearn.neural_network import BernoulliRBM

    model = BernoulliRBM(hidden, batch_size=50, random_state=seed, **options)
    rng, began, done = np.random.default_rng(seed), time.process_time(), 0
    while True:
        for index in np.split(rng.permutation(len(x)), len(x) // 50):
            model.partial_fit(x[index])
            done += 1
            took = time.process_time() - began
            if took > seconds:
                return model, done, took


Contender = Callable[[Bits, int, float, int, Options], tuple[Any, int, float]]
CONTENDERS: dict[str, tuple[Contender, list[Options]]] = {
    "noneq": (ours, [{"tau": tau} for tau in (0.1, 0.2, 0.4)]),
    "scikit-learn": (theirs, [{"learning_rate": lr} for lr in (0.01, 0.03, 0.06)]),
}


# -- judging


def log_likelihoods(
    made: Any, split: dict[str, Bits], rows: str
) -> tuple[Bits, float, tuple[str, ...]]:
    """Of each row, the error of log Z, and its alarms."""
    numbers = (made.components_.T, made.intercept_visible_, made.intercept_hidden_)
    w, b, c = (torch.from_numpy(np.asarray(t)).float() for t in numbers)
    machine, train = noneq.BernoulliRBM(w, b, c), torch.from_numpy(split["train"]).float()
    machine.base = noneq.BernoulliRBM.independent_start(train)
    if len(c) <= 20:
        value, stderr, alarms = machine.log_z(), 0.0, ()
    else:
        walkers, steps = EFFORT[rows]
        rng = torch.Generator().manual_seed(5)
        z = noneq.log_z(machine, data=train, n=walkers, temperatures=steps, rng=rng)
        value, stderr, alarms = z.value, z.stderr, z.alarms
    energy = energy_of(machine.double(), torch.from_numpy(split[rows])).numpy()
    return -energy - value, stderr, alarms


def contest(
    name: str, split: dict[str, Bits], hidden: int, seconds: float, seeds: tuple[int, ...]
) -> list[Score]:
    """Every trial on the validation rows, the best on the test rows."""
    train, trials = CONTENDERS[name]
    found: list[Score] = []

    def score(made: tuple[Any, int, float], options: Options, seed: int, rows: str) -> None:
        each, stderr, alarms = log_likelihoods(made[0], split, rows)
        text = " ".join(f"{value:.2f}" for value in each)
        known = (name, hidden, seconds, rows, options, seed, -float(each.mean()), stderr, alarms)
        found.append(Score(*known, made[1], made[2], COMMIT, text))
        print(replace(found[-1], each="..."), file=sys.stderr, flush=True)

    tried = []
    for options in trials:
        tried.append(train(split["train"], hidden, seconds, seeds[0], options))
        score(tried[-1], options, seeds[0], "validation")
    best = int(np.argmin([s.nll for s in found]))
    for seed in seeds:
        made = tried[best]
        if seed != seeds[0]:
            made = train(split["train"], hidden, seconds, seed, trials[best])
        score(made, trials[best], seed, "test")
    return found


def paired(scores: list[Score], hidden: int, seconds: float) -> tuple[float, float]:
    """noneq's NLL above scikit-learn's on the test rows, and its error over rows and seeds."""

    def each(name: str) -> Bits:
        chosen = [
            s
            for s in scores
            if (s.contender, s.hidden, s.allowed, s.rows) == (name, hidden, seconds, "test")
        ]
        return -np.array([[float(v) for v in s.each.split()] for s in chosen])

    gap = each("noneq") - each("scikit-learn")  # (seeds, rows)
    over_rows = gap.mean(0).std(ddof=1) / math.sqrt(gap.shape[1])
    over_seeds = gap.mean(1).std(ddof=1) / math.sqrt(len(gap)) if len(gap) > 1 else 0.0
    return float(gap.mean()), float(math.hypot(over_rows, over_seeds))


def main(
    data: Path,
    hidden: tuple[int, ...] = (16, 64),
    seconds: tuple[float, ...] = (5.0, 18.0),
    seeds: tuple[int, ...] = (1, 2, 3),
    name: str = "rbm_dna",
) -> None:
    """Train, choose, score, print and record.

    Args:
        data: DNA.rda.
        hidden: numbers of hidden units.
        seconds: of the processor, for each training.
        seeds: of the trainings; trials are chosen by the first.
        name: of the record; "" for none.
    """
    torch.set_num_threads(1)
    threadpool_limits(1)
    split, scores, lines = rows_of(data), list[Score](), list[list[str]]()
    for allowed in seconds:
        for units in hidden:
            for contender in CONTENDERS:
                scores += contest(contender, split, units, allowed, seeds)
            gap, error = paired(scores, units, allowed)
            for contender in CONTENDERS:
                test = [
                    s
                    for s in scores
                    if (s.contender, s.hidden, s.allowed, s.rows)
                    == (contender, units, allowed, "test")
                ]
                ahead = f"{gap:+.2f} ± {error:.2f}" if contender == "noneq" else ""
                lines.append(
                    [
                        f"{contender}, {units} units, {allowed:g} s",
                        " ".join(f"{s.nll:.2f}" for s in test),
                        ahead,
                        f"{max(s.stderr_z for s in test):.2f}",
                        str(sum(len(s.alarms) for s in test)),
                        f"{np.mean([s.updates for s in test]):,.0f}",
                        f"{max(s.seconds for s in test):.1f}",
                        ", ".join(f"{k} {v:g}" for k, v in test[0].options.items()),
                    ]
                )
            if name:
                record(name, [asdict(s) for s in scores])
    columns = ["", "test NLL by seed", "noneq above", "± log Z", "alarms", "updates", "s", "by"]
    table("DNA splice rows, nats a row", columns, lines)


if __name__ == "__main__":
    tyro.cli(main)
