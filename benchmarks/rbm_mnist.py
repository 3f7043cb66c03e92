r"""Restricted Boltzmann machines on binarised MNIST: noneq and its peers, by one likelihood.

10,000 images, on where above 127 of 255, a seeded split: 7,500 to train, 1,000 to choose by, 1,500
to report on once. 500 hidden units, 10 minutes of the processor for each training, on one thread.

================ ============================================================================
noneq, weighted  walkers with weights from the base, trust region (`noneq.Session`)
noneq, fading    the same with weights that fade (`noneq.Settings.memory`)
noneq, PCD       the same numbers of walkers, sweeps and rows, without weights, from the data
scikit-learn     its BernoulliRBM: PCD-1, as many chains as rows of a batch
rbms             PCD of the package of that name, its own update; it divides the gradient by
                 its norm, so that the learning rate is the length of a step
================ ============================================================================

Every contender has two trials at different speeds, each for the whole time (short ones prefer
speeds at which a long one diverges). The validation rows choose one of the two machines, and the
test rows are read by it alone. Whatever trained them, the numbers (W, b, c) are scored alike:
`noneq.log_z` from both sides, block Gibbs along the path of machines from the pixels' means; the
larger side counts.

    pip install -c constraints.txt -e .[rbm]
    python -m benchmarks.rbm_mnist --data mnist10k.npz          two hours
    python -m benchmarks.rbm_mnist --data mnist10k.npz --seconds 20   a look, no record
"""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from threadpoolctl import threadpool_limits
from torch import Tensor

import noneq
from benchmarks.common import record, table
from noneq.likelihood import energy_of
from noneq.recipe import choose
from noneq.session import Session

HIDDEN, TEST, VALIDATION, SECONDS = 500, 1_500, 1_000, 600.0
EFFORT = {"validation": (256, 2_000), "test": (512, 5_000)}  # walkers, temperatures
Options = dict[str, Any]


class Split(NamedTuple):
    """Rows of 784 bits."""

    train: Tensor
    validation: Tensor
    test: Tensor


class Trained(NamedTuple):
    """What any contender comes to."""

    machine: noneq.BernoulliRBM
    updates: int
    seconds: float


@dataclass(frozen=True)
class Score:
    """A machine's likelihood, in nats a row."""

    contender: str
    rows: str
    options: Options
    nll: float
    stderr_rows: float
    stderr_z: float
    apart: float
    alarms: tuple[str, ...]
    updates: int
    seconds: float


def split_of(path: Path, seed: int = 0) -> Split:
    """The images of a file with an array of that name, (10000, 28, 28) of 0 to 255."""
    x = torch.from_numpy(np.load(path)["images"] > 127).float().flatten(1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    test, validation, train = order.split([TEST, VALIDATION, len(x) - TEST - VALIDATION])
    return Split(x[train], x[validation], x[test])


# -- contenders: (rows, seconds, seed, options) -> Trained


def weighted(x: Tensor, seconds: float, seed: int, options: Options) -> Trained:
    """noneq's recipe for a machine, on one thread as it says, whatever the options change."""
    how = {"model": "rbm", "hidden": HIDDEN, "held_out": 128, "decay": 0.01, "seconds": seconds}
    recipe = choose(x.shape[1:], len(x), "table", discrete=True, **{**how, **options})
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    session = Session(recipe, x, seed)
    session.clock = time.process_time
    good, again = copy.deepcopy(session.state_dict()), 0
    while session.progress < 1:
        try:
            for record in session:
                if record.iteration % 200 == 0 and session.watch.healthy:
                    good = copy.deepcopy(session.state_dict())
        except FloatingPointError as error:  # as `noneq.Run` does it: back, at half the speed
            print(f"rolled back: {error}", file=sys.stderr, flush=True)
            spent, caution, again = session.seconds, session.caution / 2, again + 1
            if again > 3:
                raise
            session.load_state_dict(good)
            session.seconds, session.caution = spent, caution
    torch.set_num_threads(threads)
    machine = session.average
    assert isinstance(machine, noneq.BernoulliRBM)
    return Trained(machine, session.iteration, session.seconds)


def persistent(x: Tensor, seconds: float, seed: int, options: Options) -> Trained:
    """The same without weights, in plain steps, from the data."""
    off = {"weighted": False, "start": "data", "tau": 0.0, "held_out": 0}
    return weighted(x, seconds, seed, {**off, **options})


def scikit_learn(x: Tensor, seconds: float, seed: int, options: Options) -> Trained:
    """Its own loop over batches, until the time is up."""
    from sklearn.neural_network import BernoulliRBM

    batch, began, done = options["batch_size"], time.process_time(), 0
    theirs = BernoulliRBM(HIDDEN, random_state=seed, **options)
    rows, rng = x.numpy(), np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(rows))
        for i in range(0, len(rows) - batch + 1, batch):
            theirs.partial_fit(rows[order[i : i + batch]])
            done += 1
            if time.process_time() - began > seconds:
                b, c = theirs.intercept_visible_, theirs.intercept_hidden_
                numbers = (theirs.components_.T, b, c)
                w, b, c = (torch.from_numpy(np.asarray(t)).float() for t in numbers)
                return Trained(noneq.BernoulliRBM(w, b, c), done, time.process_time() - began)


def rbms(x: Tensor, seconds: float, seed: int, options: Options) -> Trained:
    """Its model, chains and update, as its own training loop calls them, until the time is up."""
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.training.pcd import fit_batch_pcd

    began, done = time.process_time(), 0
    rng = torch.Generator().manual_seed(seed)
    mean = x.mean(0).clamp(1e-4, 1 - 1e-4)
    w = 1e-2 * torch.randn(x.shape[1], HIDDEN, generator=rng)
    theirs = BBRBM(w, mean.logit(), torch.zeros(HIDDEN))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=options["learning_rate"], maximize=True)
    n, ones = options["chains"], torch.ones(options["batch"])
    chains = theirs.init_chains(n, start_v=x[torch.randint(len(x), (n,), generator=rng)])
    theirs.init_grad()
    with torch.no_grad():
        while time.process_time() - began < seconds:
            rows = x[torch.randint(len(x), (options["batch"],), generator=rng)]
            optimizer.zero_grad(set_to_none=False)
            steps = options["gibbs_steps"]
            chains, _ = fit_batch_pcd((rows, ones), chains, theirs, gibbs_steps=steps, beta=1.0)
            optimizer.step()
            done += 1
    w, b, c = (t.detach().clone() for t in theirs.parameters())
    return Trained(noneq.BernoulliRBM(w, b, c), done, time.process_time() - began)


Contender = Callable[[Tensor, float, int, Options], Trained]
CONTENDERS: dict[str, tuple[Contender, list[Options]]] = {
    "noneq, weighted": (
        weighted,
        [{"tau": tau, "moves": 3} for tau in (0.02, 0.1)],
    ),
    "noneq, fading": (
        weighted,
        [{"tau": tau, "moves": 1, "memory": 0.9} for tau in (0.02, 0.05)],
    ),
    "noneq, PCD": (
        persistent,
        [{"lr": lr, "moves": 1} for lr in (1e-3, 3e-3)],
    ),
    "scikit-learn": (
        scikit_learn,
        [{"learning_rate": lr, "batch_size": 100} for lr in (0.01, 0.03)],
    ),
    "rbms": (
        rbms,
        [
            {"learning_rate": lr, "gibbs_steps": 1, "chains": 1_024, "batch": 512}
            for lr in (0.2, 0.5)
        ],
    ),
}


# -- judging


def scored(name: str, options: Options, found: Trained, split: Split, rows: str) -> Score:
    """Likelihood of the rows of that name; the way starts at the pixels' means in training."""
    machine, (walkers, steps) = found.machine, EFFORT[rows]
    machine.base = noneq.BernoulliRBM.independent_start(split.train)
    rng = torch.Generator().manual_seed(5)
    z = noneq.log_z(machine, data=split.train, n=walkers, temperatures=steps, rng=rng)
    u = energy_of(machine, getattr(split, rows))
    score = Score(
        name,
        rows,
        options,
        float(u.mean()) + z.value,
        float(u.std()) / math.sqrt(len(u)),
        z.stderr,
        z.upper.value - z.lower.value,
        z.alarms,
        found.updates,
        found.seconds,
    )
    print(score, file=sys.stderr, flush=True)
    return score


def best_of(name: str, split: Split, seconds: float) -> tuple[Score, list[Score]]:
    """The trial that the validation rows like best, on the test rows; and all the trials."""
    train, trials = CONTENDERS[name]
    found = [train(split.train, seconds, 1, options) for options in trials]
    judged = [
        scored(name, options, made, split, "validation")
        for options, made in zip(trials, found, strict=True)
    ]
    best = min(range(len(trials)), key=lambda k: judged[k].nll)
    return scored(name, trials[best], found[best], split, "test"), judged


def main(
    data: Path,
    names: tuple[str, ...] = tuple(CONTENDERS),
    seconds: float = SECONDS,
    threads: int = 1,
) -> None:
    """Train, choose, score, print and (with the whole time) record.

    Args:
        data: an .npz with the array images.
        names: of the contenders.
        seconds: of the training of each.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # numpy's, whose idle threads cost the processor's time, too
    split, scores = split_of(data), []
    for name in names:
        score, trials = best_of(name, split, seconds)
        scores.append(score)
        if seconds >= SECONDS:  # one file each: they need not be run on one day
            found = {**asdict(score), "trials": [asdict(trial) for trial in trials]}
            record(f"rbm_mnist_{name.split()[-1].lower()}", found)
    rows = [
        [
            s.contender,
            f"{-s.nll:.2f} ± {s.stderr_rows:.2f}",
            f"{s.stderr_z:.2f}",
            f"{s.apart:+.2f}",
            str(len(s.alarms)),
            f"{s.updates:,}",
            ", ".join(f"{k} {v:g}" for k, v in s.options.items()),
        ]
        for s in scores
    ]
    columns = ["", "log-likelihood, test", "± log Z", "sides apart"]
    columns += ["alarms", "updates", "chosen"]
    table(
        f"Binarised MNIST, {HIDDEN} hidden units, {seconds:g} s of the processor each",
        columns,
        rows,
    )


if __name__ == "__main__":
    tyro.cli(main)
