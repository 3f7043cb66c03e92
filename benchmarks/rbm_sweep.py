"""What a block Gibbs sweep and an update of an RBM cost: 1,000 chains of 784 x 500.

Three parts. *Engines*: both products of a sweep by each of `noneq.numerics`; the two best are the
unit of the next part. *Sweep*: `BlockGibbs`, which also evaluates the free energies that the next
weight needs, and `Walkers.move`, which looks besides whether the model has changed; beside them a
sweep of scikit-learn's BernoulliRBM and of rbms, which evaluate nothing. *Update*: an update of
`noneq.train` with weights and without (persistent contrastive divergence), and one of rbms; all
with one sweep and 1,000 rows of data. The candidates take turns in one process; medians, and
quartiles of the ratios.

    pip install -c constraints.txt -e .[rbm]
    python -m benchmarks.rbm_sweep                     one thread, process time, two minutes
    python -m benchmarks.rbm_sweep --parts engines     which engine is the fastest here
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Literal

import torch
import tyro
from rich.console import Console
from rich.progress import track

import noneq
from benchmarks import RESULTS
from experiments.common import record, table
from noneq.numerics import MATMUL_BACKENDS, product, set_matmul_backend

N, D, M = 1000, 784, 500
RATE = 1e-3  # of every update
BLOCK = 4  # sweeps or updates in a row, as a run makes them
SHOWN = Console(stderr=True)
Part = Literal["engines", "sweep", "update"]
Times = dict[str, list[float]]
Candidates = dict[str, Callable[[], object]]


def taking_turns(candidates: Candidates, rounds: int) -> Times:
    """Seconds of every candidate in every round; the order rotates, three rounds warm up.

    A turn is `BLOCK` calls. With one thread they are seconds of the process, which other processes
    disturb less.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    spent: Times = {name: [] for name in candidates}
    names = list(candidates)
    for i in track(range(-3, rounds), description="rounds", console=SHOWN, transient=True):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            began = clock()
            for _ in range(BLOCK):
                candidates[name]()
            if i >= 0:
                spent[name].append((clock() - began) / BLOCK)
    return spent


def machine() -> tuple[noneq.BernoulliRBM, torch.Tensor]:
    """A centred RBM that is not at its base, and data: bits, three of ten are on."""
    rng = torch.Generator().manual_seed(0)
    data = (torch.rand(8_500, D, generator=rng) < 0.6 * torch.rand(D, generator=rng)).float()
    return noneq.BernoulliRBM.from_data(data, M, rng, scale=0.05), data


def engines() -> Candidates:
    """Both products by every engine, on bits."""
    rbm, data = machine()
    w, b, c = rbm.w.detach(), rbm.visible_bias.detach(), rbm.hidden_bias.detach()
    v, h = data[:N], (data[:N, :M] > 0).float()

    def by(engine: str, *operands: torch.Tensor) -> Callable[[], None]:
        def multiply() -> None:
            set_matmul_backend(engine)
            product(*operands)
            set_matmul_backend("torch")

        return multiply

    up = {f"up, {engine}": by(engine, v, w, c) for engine in MATMUL_BACKENDS}
    return up | {f"down, {engine}": by(engine, h, w.T, b) for engine in MATMUL_BACKENDS}


def sweeps() -> Candidates:
    """One sweep by each library."""
    rbm, data = machine()
    rng = torch.Generator().manual_seed(1)
    kernel, walkers = (
        noneq.kernels.BlockGibbs(),
        noneq.Walkers.sample(rbm.base, N, rng).reweight(rbm),
    )

    state = walkers.state

    def bare() -> None:
        nonlocal state
        state, _, _ = kernel(rbm, state, rng)

    def weighted() -> None:
        nonlocal walkers
        walkers = walkers.move(kernel, rbm, rng)

    ours: Candidates = {"noneq, the kernel": bare, "noneq, weighted walkers": weighted}
    return ours | _scikit_learn(rbm, data) | _rbms_sweep(rbm, data)


def _scikit_learn(rbm: noneq.BernoulliRBM, data: torch.Tensor) -> Candidates:
    from sklearn.neural_network import BernoulliRBM

    theirs = BernoulliRBM(M, n_iter=1, random_state=0).fit(data[:2].numpy())
    theirs.components_ = rbm.w.detach().T.numpy()
    theirs.intercept_visible_ = rbm.visible_bias.detach().numpy()
    theirs.intercept_hidden_ = rbm.hidden_bias.detach().numpy()
    v = data[:N].numpy()

    def sweep() -> None:
        nonlocal v
        v = theirs.gibbs(v)

    return {"scikit-learn": sweep}


def _rbms_sweep(rbm: noneq.BernoulliRBM, data: torch.Tensor) -> Candidates:
    theirs = _rbms(rbm)
    chains = theirs.init_chains(N, start_v=data[:N])

    def sweep() -> None:
        theirs.sample_hiddens(chains)
        theirs.sample_visibles(chains)

    return {"rbms": sweep}


def _rbms(rbm: noneq.BernoulliRBM):
    from rbms.bernoulli_bernoulli.classes import BBRBM

    numbers = (t.detach().clone() for t in (rbm.w, rbm.visible_bias, rbm.hidden_bias))
    return BBRBM(*numbers)


def updates() -> Candidates:
    """One update by each, with one sweep."""
    found: Candidates = {}
    for name, weighted in (("noneq, PCD", False), ("noneq, weighted", True)):
        rbm, data = machine()
        start: Literal["base", "data"] = "base" if weighted else "data"
        how = noneq.Settings(N, None, 1, None, weighted=weighted, start=start, batch=N, renew=None)
        optimizer = torch.optim.SGD(rbm.parameters(), lr=RATE)
        run = noneq.train(rbm, data, how, optimizer=optimizer, kernel=noneq.kernels.BlockGibbs())
        found[name] = run.__next__
    return found | _rbms_update()


def _rbms_update() -> Candidates:
    from rbms.training.pcd import fit_batch_pcd

    rbm, data = machine()
    theirs, ones = _rbms(rbm), torch.ones(N)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=RATE, maximize=True)
    chains = theirs.init_chains(N, start_v=data[:N])
    theirs.init_grad()
    rng = torch.Generator().manual_seed(2)

    def update() -> None:
        nonlocal chains
        rows = data[torch.randperm(len(data), generator=rng)[:N]]
        optimizer.zero_grad(set_to_none=False)
        chains, _ = fit_batch_pcd((rows, ones), chains, theirs, gibbs_steps=1, beta=1.0)
        optimizer.step()

    return {"rbms, PCD": torch.no_grad()(update)}


def compared(spent: Times, unit: list[float]) -> list[list[str]]:
    """Rows: a name, its milliseconds, its time in units."""
    lines = []
    for name, seconds in spent.items():
        low, middle, high = quantiles([a / b for a, b in zip(seconds, unit, strict=True)], n=4)
        ratio = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        lines.append([name, f"{1e3 * median(seconds):.2f}", ratio])
    return lines


def two_best(spent: Times) -> tuple[str, str]:
    """The names of the fastest product up and down."""
    fastest = (
        min((name for name in spent if name.startswith(way)), key=lambda name: median(spent[name]))
        for way in ("up", "down")
    )
    up, down = fastest
    return up, down


def main(
    parts: tuple[Part, ...] = ("engines", "sweep", "update"), threads: int = 1, rounds: int = 60
) -> None:
    """Measure, print; record where all parts are asked for.

    Args:
        parts: which.
        threads: of torch; OpenBLAS reads OPENBLAS_NUM_THREADS.
        rounds: that each candidate takes part in.
    """
    torch.set_num_threads(threads)
    shown, found = io.StringIO(), {}
    with contextlib.redirect_stdout(shown):
        for part in parts:
            found[part] = {"engines": _engines, "sweep": _sweep, "update": _update}[part](rounds)
    print(shown.getvalue())
    if len(set(parts)) == 3:
        versions = {name: importlib.metadata.version(name) for name in ("scikit-learn", "rbms")}
        record("rbm_sweep", {"threads": threads, "versions": versions, **found}, RESULTS)
        (RESULTS / "rbm_sweep.txt").write_text(shown.getvalue())


def _engines(rounds: int) -> Times:
    spent = taking_turns(engines(), rounds)
    for way in ("up", "down"):
        some = {name: times for name, times in spent.items() if name.startswith(way)}
        title = f"(1000, {D}) x ({D}, {M})" if way == "up" else f"(1000, {M}) x ({M}, {D})"
        table(title, ["engine", "ms", "of torch's"], compared(some, spent[f"{way}, torch"]))
    return _milliseconds(spent)


def _sweep(rounds: int) -> Times:
    products = engines()
    up, down = two_best(taking_turns(products, 10))
    unit = f"two products ({up}; {down})"

    def both() -> None:
        products[up]()
        products[down]()

    spent = taking_turns({unit: both, **sweeps()}, rounds)
    table(
        "A sweep of 1,000 chains", ["", "ms", "of the two products"], compared(spent, spent[unit])
    )
    return _milliseconds(spent)


def _update(rounds: int) -> Times:
    spent = taking_turns(updates(), rounds)
    table("An update", ["", "ms", "of noneq's PCD"], compared(spent, spent["noneq, PCD"]))
    return _milliseconds(spent)


def _milliseconds(spent: Times) -> Times:
    return {name: [round(1e3 * s, 3) for s in seconds] for name, seconds in spent.items()}


if __name__ == "__main__":
    tyro.cli(main)
