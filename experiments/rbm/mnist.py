r"""Restricted Boltzmann RBMs on binarised MNIST: noneq and its peers, by one likelihood.

10,000 images, on where above 127 of 255, a seeded split: 7,500 to train, 1,000 to choose by, 1,500
to report on once. 500 hidden units, 10 minutes of the processor for each training, on one thread.

================ ============================================================================
noneq, weighted  walkers with weights from the base, trust region (`noneq.Session`)
noneq, fading    the same with weights that fade (`noneq.Settings.forgetting_factor`)
noneq, PCD       the same numbers of walkers, sweeps and rows, without weights, from the data
scikit-learn     its BernoulliRBM: PCD-1, as many chains as rows of a batch
rbms             PCD of the package of that name, its own update; it divides the gradient by
                 its norm, so that the learning rate is the length of a step
================ ============================================================================

Every contender has trials at different speeds, two with weights, three without, each for the whole
time (short ones prefer speeds at which a long one diverges), with the first seed. The validation
rows choose one of them, and the test rows are read by its RBMs alone, one a seed. Whatever
trained them, the numbers (W, b, c) are scored alike: `noneq.log_z` from both sides, block Gibbs
along the path of RBMs from the pixels' means; the larger side counts.

    pip install -c constraints.txt -e .[rbm]
    python -m experiments rbm.mnist --data mnist10k.npz          five hours
    python -m experiments rbm.mnist --data mnist10k.npz --seconds 20   a look, no record

A record grows by one score at a time, and what it has is not run again: contenders and seeds need
not be of one day, and with all of them on record the table comes at once.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from threadpoolctl import threadpool_limits
from torch import Tensor

import noneq
from experiments.common import COMMIT, RESULTS, record, table
from noneq import Session
from noneq.likelihood.score import energy_of
from noneq.run import choose

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
    """An RBM's likelihood, in nats a row; the rows' own, in their order, to tenths."""

    contender: str
    rows: str
    options: Options
    seed: int
    nll: float
    stderr_rows: float
    stderr_z: float
    apart: float
    alarms: tuple[str, ...]
    updates: int
    seconds: float
    commit: str
    each: str


def split_of(path: Path, seed: int = 0) -> Split:
    """The images of a file with an array of that name, (10000, 28, 28) of 0 to 255."""
    x = torch.from_numpy(np.load(path)["images"] > 127).float().flatten(1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    test, validation, train = order.split([TEST, VALIDATION, len(x) - TEST - VALIDATION])
    return Split(x[train], x[validation], x[test])


# -- contenders: (rows, seconds, seed, options) -> Trained


def session(x: Tensor, seed: int, **options: Any) -> Session:
    """noneq's recipe for an RBM, whatever the options change, by the processor's time."""
    how = {"model": "rbm", "hidden": HIDDEN, "held_out": 128, "weight_decay": 0.01}
    recipe = choose(x.shape[1:], len(x), "table", discrete=True, **{**how, **options})
    made = Session(recipe, x, seed)
    made.clock = time.process_time
    return made


def weighted(x: Tensor, seconds: float, seed: int, options: Options) -> Trained:
    """noneq's recipe, as `noneq.Run` goes through it."""
    run = session(x, seed, seconds=seconds, **options)
    threads = torch.get_num_threads()
    torch.set_num_threads(run.recipe.budget.threads)
    good, again = copy.deepcopy(run.state_dict()), 0
    while run.progress < 1:
        try:
            for event in run:
                if event.iteration % 200 == 0 and run.monitor.healthy:
                    good = copy.deepcopy(run.state_dict())
        except FloatingPointError as error:  # as `noneq.Run` does it: back, at half the speed
            print(f"rolled back: {error}", file=sys.stderr, flush=True)
            spent, backoff, again = run.seconds, run.backoff / 2, again + 1
            if again > 3:
                raise
            run.load_state_dict(good)
            run.seconds, run.backoff = spent, backoff
    torch.set_num_threads(threads)
    machine = run.average
    assert isinstance(machine, noneq.BernoulliRBM)
    return Trained(machine, run.iteration, run.seconds)


def persistent(x: Tensor, seconds: float, seed: int, options: Options) -> Trained:
    """The same without weights, in plain steps, from the data."""
    off = {"weighted": False, "start": "data", "tau": None, "held_out": None}
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
    rng = torch.manual_seed(seed)  # its chains draw from torch's own generator
    pixels = x.mean(0).clamp(1e-4, 1 - 1e-4)
    w = 1e-2 * torch.randn(x.shape[1], HIDDEN, generator=rng)
    theirs = BBRBM(w, pixels.logit(), torch.zeros(HIDDEN))
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
    "noneq, fading": (
        weighted,
        [{"tau": tau, "moves": 1, "forgetting_factor": 0.9} for tau in (0.02, 0.05)],
    ),
    "noneq, weighted": (
        weighted,
        [{"tau": tau, "moves": 3} for tau in (0.02, 0.1)],
    ),
    "noneq, PCD": (
        persistent,
        [{"lr": lr, "moves": 1} for lr in (3e-4, 1e-3, 3e-3)],
    ),
    "scikit-learn": (
        scikit_learn,
        [{"learning_rate": lr, "batch_size": 100} for lr in (0.003, 0.01, 0.03)],
    ),
    "rbms": (
        rbms,
        [
            {"learning_rate": lr, "gibbs_steps": 1, "chains": 1_024, "batch": 512}
            for lr in (0.1, 0.2, 0.5)
        ],
    ),
}


# -- judging


def scored(
    name: str, options: Options, seed: int, made: Trained, split: Split, rows: str
) -> Score:
    """Likelihood of the rows of that name; the way starts at the pixels' means in training."""
    machine, (walkers, steps) = made.machine, EFFORT[rows]
    machine.base = noneq.BernoulliRBM.independent_start(split.train)
    rng = torch.Generator().manual_seed(5)
    z = noneq.log_z(machine, data=split.train, n=walkers, temperatures=steps, rng=rng)
    nll = energy_of(machine, getattr(split, rows)) + z.value
    score = Score(
        name,
        rows,
        options,
        seed,
        float(nll.mean()),
        float(nll.std()) / math.sqrt(len(nll)),
        z.stderr,
        z.gap,
        z.alarms,
        made.updates,
        made.seconds,
        COMMIT,
        " ".join(f"{value:.1f}" for value in nll.tolist()),
    )
    print(replace(score, each="..."), file=sys.stderr, flush=True)
    return score


def contest(
    name: str, split: Split, seconds: float, seeds: Sequence[int], before: Sequence[Score] = ()
) -> Iterator[Score]:
    """A contender's scores: of every trial on the validation rows, of the best on the test rows.

    Those from ``before`` come first, and are not made again.
    """
    train, trials = CONTENDERS[name]
    found, made = list(before), dict[tuple[int, int], Trained]()
    yield from found

    def missing(k: int, seed: int, rows: str) -> Iterator[Score]:
        asked = (rows, trials[k], seed)
        if asked in [(s.rows, s.options, s.seed) for s in found]:
            return
        if (k, seed) not in made:
            made[k, seed] = train(split.train, seconds, seed, trials[k])
        found.append(scored(name, trials[k], seed, made[k, seed], split, rows))
        yield found[-1]

    for k in range(len(trials)):
        yield from missing(k, seeds[0], "validation")
    best = min((s for s in found if s.rows == "validation"), key=lambda s: s.nll)
    for seed in seeds:
        yield from missing(trials.index(best.options), seed, "test")


# -- the record: one file each, of all its scores


def _file(name: str) -> str:
    return f"rbm_mnist_{name.split()[-1].lower()}"


def known(file: str) -> list[Score]:
    """The scores of a record, none if there is no such file."""
    path = RESULTS / f"{file}.json"
    scores = json.loads(path.read_text())["data"] if path.exists() else []
    return [Score(**{**score, "alarms": tuple(score["alarms"])}) for score in scores]


def summary(scores: Sequence[Score]) -> list[str]:
    """A contender's line of the table: its test rows, by seed."""
    test = [s for s in scores if s.rows == "test"]
    nll = [s.nll for s in test]
    return [
        test[0].contender,
        f"{mean(nll):.2f}",
        " ".join(f"{value:.2f}" for value in nll),
        f"{max(s.stderr_z for s in test):.2f}",
        " ".join(f"{s.apart:+.2f}" for s in test),
        " ".join(str(len(s.alarms)) for s in test),
        f"{mean(s.updates for s in test):,.0f}",
        ", ".join(f"{k} {v:g}" for k, v in test[0].options.items()),
    ]


def paired(one: Sequence[Score], other: Sequence[Score]) -> tuple[float, float, float]:
    """Mean difference of test NLL; its error over seeds, and the one over rows they share."""
    a, b = ({s.seed: s for s in scores if s.rows == "test"} for scores in (one, other))
    seeds = sorted(set(a) & set(b))
    rows = [[np.array(s.each.split(), dtype=float) for s in (a[seed], b[seed])] for seed in seeds]
    gaps = np.array([x - y for x, y in rows])  # (seeds, rows)
    spread = gaps.mean(1).std(ddof=1) / math.sqrt(len(seeds)) if len(seeds) > 1 else math.nan
    return float(gaps.mean()), float(spread), float(gaps.mean(0).std(ddof=1)) / len(gaps[0]) ** 0.5


def main(
    data: Path,
    names: tuple[str, ...] = tuple(CONTENDERS),
    seeds: tuple[int, ...] = (1, 2, 3),
    seconds: float = SECONDS,
    threads: int = 1,
) -> None:
    """Train, choose, score, print and (with the whole time) record.

    Args:
        data: an .npz with the array images.
        names: of the contenders.
        seeds: of the trainings; trials are chosen by the first.
        seconds: of the training of each.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # numpy's, whose idle threads cost the processor's time, too
    split, recorded = split_of(data), seconds >= SECONDS
    found: dict[str, list[Score]] = {}
    for name in names:
        found[name], before = [], known(_file(name)) if recorded else []
        for score in contest(name, split, seconds, seeds, before):
            found[name].append(score)
            if recorded and len(found[name]) > len(before):
                record(_file(name), [asdict(s) for s in found[name]])
    columns = ["", "test NLL", "by seed", "± log Z", "sides apart", "alarms", "updates", "chosen"]
    title = f"Binarised MNIST, {HIDDEN} hidden units, {seconds:g} s of the processor each"
    table(title, columns, [summary(scores) for scores in found.values()])
    first, *others = names
    gaps = [
        [other, f"{gap:+.2f}", f"{seeds_error:.2f}", f"{rows_error:.2f}"]
        for other in others
        for gap, seeds_error, rows_error in [paired(found[other], found[first])]
    ]
    if gaps:
        table(f"NLL above that of {first}", ["", "mean", "± seeds", "± rows"], gaps)


if __name__ == "__main__":
    tyro.cli(main)
