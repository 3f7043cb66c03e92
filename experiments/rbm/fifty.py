r"""How close to the truth do restricted Boltzmann RBMs come on 50 bits?

Data from an equal mixture of four product-Bernoulli clusters (`experiments.rbm.sets.fifty`), 12
hidden units, so that log Z is exact by enumeration. 4,000 rows: 3,600 to train, 400 to choose by.
What is reported is the exact log-likelihood of 20,000 fresh rows minus the mixture's own. A
maximum-likelihood fit of p = 662 parameters without any penalty would lose about p / 2n = 0.09.

One recipe for every gradient: Adam at the same learning rate, which falls to 0 over the second
half; L2 on the weights; a moving average of the parameters, judged every 100 updates. Stopping and
one of three trials (of the penalty; for contrastive divergence, which needs it more, of the
learning rate) are chosen on the 400 rows.

=========== ==================================================================================
exact       the gradient by enumeration of 4,096 hidden states: what any sampler could reach
weighted    walkers with weights from the base, trust region
PCD         the same number of walkers, sweeps and updates without weights, from the data
=========== ==================================================================================

    python -m experiments rbm.fifty              three seeds of each: a quarter of an hour
    python -m experiments rbm.fifty --reduced    one seed of the first set, without the choices
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import torch
import tyro
from rich.progress import track
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

import noneq
from experiments.common import record, table
from experiments.rbm.sets import Bits, Spread, fifty
from noneq.models.rbm.layers import bits as binary
from noneq.run.families import FAMILIES
from noneq.training import moving_average

HIDDEN, HELD, BATCH, WALKERS, MOVES = 12, 400, 1024, 1024, 4
UPDATES, EVERY, EMA = 2_000, 100, 0.99
Gradient = Literal["exact", "weighted", "PCD"]
#: learning rate and penalty, three trials each
TRIALS: dict[Gradient, tuple[tuple[float, float], ...]] = {
    "exact": ((3e-2, 5e-4), (3e-2, 1e-3), (3e-2, 2e-3)),
    "weighted": ((3e-2, 5e-4), (3e-2, 1e-3), (3e-2, 2e-3)),
    "PCD": ((3e-2, 1e-3), (1e-2, 1e-3), (3e-3, 1e-3)),
}


@dataclass(frozen=True)
class Cell:
    """One run."""

    gradient: Gradient
    spread: Spread = "even"
    seed: int = 0
    rate: float = 3e-2
    penalty: float = 1e-3


@dataclass(frozen=True)
class Result:
    """Where it stopped, by validation, and how far from the truth it was there, in nats a row."""

    cell: Cell
    stopped: int
    validation: float
    train: float
    fresh: float
    seconds: float


def updates(cell: Cell, rbm: noneq.BernoulliRBM, data: Tensor) -> Iterator[int]:
    """Train for ever; the number of updates done."""
    rng = torch.Generator().manual_seed(1_000 + cell.seed)
    optimizer = torch.optim.Adam(FAMILIES["rbm"].parameter_groups(rbm, cell.penalty), lr=cell.rate)
    fall = LambdaLR(optimizer, lambda i: min(1.0, max(0.02, 2 * (1 - i / UPDATES))))
    if cell.gradient == "exact":
        states = binary(torch.arange(2**HIDDEN), HIDDEN).to(rbm.w)
        for i in itertools.count(1):
            optimizer.zero_grad()
            (rbm(data).mean() + _log_z(rbm, states)).backward()
            optimizer.step()
            fall.step()
            yield i
    settings = noneq.Settings(walkers=WALKERS, held_out=None, moves=MOVES, batch=BATCH, renew=None)
    if cell.gradient == "PCD":
        settings = noneq.Settings.pcd(walkers=WALKERS, moves=MOVES, batch=BATCH)
    for found in noneq.train(rbm, data, settings, optimizer=optimizer, rng=rng):
        fall.step()
        yield found.iteration


def _log_z(rbm: noneq.BernoulliRBM, states: Tensor) -> Tensor:
    """With its graph, which ``rbm.log_z()`` has not."""
    visible = nn.functional.softplus(rbm.visible_bias + states @ rbm.w.T).sum(1)
    return (states @ rbm.hidden_bias + visible).logsumexp(0)


@torch.no_grad()
def missing(rbm: nn.Module, bits: Bits, rows: Tensor) -> float:
    """Nats a row that the truth has over the model, exact."""
    assert isinstance(rbm, noneq.BernoulliRBM)
    return bits.truth(rows) + float(rbm(rows).double().mean()) + rbm.log_z()


def run(cell: Cell) -> Result:
    """Train one RBM and stop it where the rows held out like it best."""
    began = time.perf_counter()
    bits = fifty(cell.seed, cell.spread)
    train, held = bits.train[:-HELD], bits.train[-HELD:]
    rng = torch.Generator().manual_seed(cell.seed)
    rbm = noneq.BernoulliRBM.from_data(train, HIDDEN, rng, scale=0.05)
    average = moving_average(rbm, EMA)
    best = Result(cell, 0, math.inf, math.inf, math.inf, 0.0)
    for i in updates(cell, rbm, train):
        average.update_parameters(rbm)
        if i % EVERY == 0:
            found = missing(average.module, bits, held)
            if found < best.validation:
                rest = (missing(average.module, bits, rows) for rows in (train, bits.fresh))
                best = Result(cell, i, found, *rest, 0.0)
        if i == UPDATES:
            break
    return Result(**{**vars(best), "seconds": time.perf_counter() - began})


COLUMNS = ["set", "gradient", "mean", "worst seed", "seeds", "penalty", "rate", "stopped at", "s"]


def _row(chosen: list[Result]) -> list[str]:
    """One gradient on one set, over its seeds."""
    cells = [r.cell for r in chosen]
    fresh = [r.fresh for r in chosen]
    return [
        cells[0].spread,
        cells[0].gradient,
        f"{sum(fresh) / len(fresh):.3f}",
        f"{max(fresh):.3f}",
        " ".join(f"{x:.3f}" for x in fresh),
        " ".join(f"{c.penalty:g}" for c in cells),
        " ".join(f"{c.rate:g}" for c in cells),
        " ".join(str(r.stopped) for r in chosen),
        f"{sum(r.seconds for r in chosen) / len(chosen):.0f}",
    ]


def main(reduced: bool = False, seeds: int = 3, threads: int = 1) -> None:
    """Run them all, print the table and record it.

    Args:
        reduced: one seed of the first set at one penalty and one learning rate; no record.
        seeds: of set and first weights.
        threads: of torch.
    """
    torch.set_num_threads(threads)
    cells = [
        Cell(gradient, spread, seed, rate, penalty)
        for spread in get_args(Spread)
        for gradient in get_args(Gradient)
        for seed in range(seeds)
        for rate, penalty in TRIALS[gradient]
    ]
    if reduced:
        cells = [Cell(gradient) for gradient in get_args(Gradient)]
    results = [run(cell) for cell in track(cells, "training", transient=True)]
    best: dict[tuple[str, str, int], Result] = {}
    for r in results:
        key = (r.cell.spread, r.cell.gradient, r.cell.seed)
        best[key] = min(r, best.get(key, r), key=lambda r: r.validation)
    kinds = dict.fromkeys(key[:2] for key in best)
    rows = [_row([r for key, r in best.items() if key[:2] == kind]) for kind in kinds]
    table("Nats a fresh row below the mixture's own log-likelihood", COLUMNS, rows)
    if not reduced:
        print(f"recorded in {record('rbm_fifty', [asdict(r) for r in results])}")


if __name__ == "__main__":
    tyro.cli(main)
