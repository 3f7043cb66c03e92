r"""The factorial table: weights (kept, fading, none) x trust region x start, by exact likelihoods.

Every run has the same machine, which can be enumerated, optimiser, batch, chains and Gibbs sweeps
(an update of CD-10 costs ten, so it has fewer), the same falling learning rate and penalty, and
four trials: of the trust region where there is one, of the learning rate where there is none.
Trial and stopping are chosen by the exact likelihood of rows held out, the trial on the first
seed; fresh rows are read once.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim.lr_scheduler import LambdaLR

import noneq
from experiments.cd_bias.course import exactly, log_z
from experiments.rbm.sets import SETS, Bits

__all__ = ["CELLS", "HIDDEN", "Cell", "Result", "best", "run", "table_of"]

Name = Literal["fifty", "far", "bars", "digits"]
HIDDEN: dict[Name, int] = {"fifty": 12, "far": 8, "bars": 12, "digits": 20}
SWEEPS, MOVES, WALKERS, BATCH, PENALTY, CHECKS = 1_200, 2, 256, 256, 1e-3, 8
MEMORY = 0.9  # of weights that fade
RATES, TAUS = (3e-3, 1e-2, 3e-2, 1e-1), (0.02, 0.1, 0.5, 2.0)


@dataclass(frozen=True)
class Cell:
    """One way to learn.

    Attributes:
        name: for the table.
        weighted, trust: on or off.
        start: of the walkers.
        restart: sweeps of contrastive divergence; 0: persistent walkers.
        ess_min: walkers are resampled below it.
        memory: of the weights.
        exact: the gradient by enumeration.
    """

    name: str
    weighted: bool = False
    trust: bool = False
    start: Literal["base", "data"] = "data"
    restart: int = 0
    ess_min: float = 0.5
    memory: float = 1.0
    exact: bool = False

    @property
    def updates(self) -> int:
        """At equal Gibbs sweeps."""
        return SWEEPS // (self.restart or MOVES)

    @property
    def trials(self) -> tuple[float, ...]:
        """Of tau or of the learning rate."""
        return TAUS if self.trust else RATES

    def settings(self, trial: float) -> noneq.Settings:
        """Of `noneq.train`."""
        return noneq.Settings(
            walkers=WALKERS,
            held_out=None,
            moves=self.restart or MOVES,
            tau=trial if self.trust else None,
            ess_min=self.ess_min,
            forgetting_factor=self.memory,
            renew=None,
            batch=BATCH,
            weighted=self.weighted,
            start=self.start,
            restart=self.restart > 0,
        )


def _factorial() -> Iterator[Cell]:
    starts: tuple[Literal["base", "data"], ...] = ("base", "data")
    kinds = {"weights": (True, 1.0), "fading weights": (True, MEMORY), "no weights": (False, 1.0)}
    for kind, trust, start in itertools.product(kinds, (True, False), starts):
        words = (kind, "trust region" if trust else "plain steps", f"from the {start}")
        weighted, memory = kinds[kind]
        yield Cell(", ".join(words), weighted, trust, start, memory=memory)


CELLS = (
    *_factorial(),
    Cell("CD-1", restart=1),
    Cell("CD-10", restart=10),
    Cell("exact gradient", exact=True),
)


@dataclass(frozen=True)
class Result:
    """Where a run stopped, by validation, and what it lost against the truth there, nats a row.

    On digits, whose law is not known, minus the log-likelihood itself. ``last``: at the end, on
    rows held out. ``mass``: the model's share of the majority on the far clusters, by 20,000
    samples.
    """

    set: Name
    cell: str
    seed: int
    trial: float
    stopped: int
    validation: float
    fresh: float
    last: float
    mass: float
    seconds: float


def lost(rbm: noneq.BernoulliRBM, law: Bits, rows: Tensor) -> float:
    """Nats a row that the truth has over the machine, exact."""
    with torch.no_grad():
        return law.truth(rows) + float(rbm(rows).double().mean()) + log_z(rbm)


def split(law: Bits) -> tuple[Tensor, Tensor]:
    """Rows to learn from, rows to choose by."""
    held = len(law.train) // 10
    return law.train[:-held], law.train[-held:]


def optimiser(rbm: noneq.BernoulliRBM, rate: float, updates: int):  # type: ignore[no-untyped-def]
    """Adam, L2 on the weights; the rate falls to 0 over the second half."""
    rest = [p for p in rbm.parameters() if p is not rbm.w]
    groups = [{"params": [rbm.w], "weight_decay": PENALTY}, {"params": rest}]
    optimizer = torch.optim.Adam(groups, lr=rate)
    return optimizer, LambdaLR(optimizer, lambda i: min(1.0, max(0.02, 2 * (1 - i / updates))))


def updates(
    cell: Cell, rbm: noneq.BernoulliRBM, data: Tensor, trial: float, seed: int
) -> Iterator[int]:
    """Train; the number of updates done."""
    rng = torch.Generator().manual_seed(1_000 + seed)
    optimizer, fall = optimiser(rbm, 1e-2 if cell.trust else trial, cell.updates)
    if cell.exact:
        for i, _ in enumerate(exactly(rbm, data, optimizer, cell.updates)):
            fall.step()
            yield i + 1
        return
    for found in noneq.train(rbm, data, cell.settings(trial), optimizer=optimizer, rng=rng):
        fall.step()
        yield found.iteration
        if found.iteration == cell.updates:
            return


def run(name: Name, cell: Cell, seed: int, trial: float, learn=updates) -> Result:  # type: ignore[no-untyped-def]
    """Train one machine and stop it where the rows held out like it best."""
    began = time.process_time()
    law = SETS[name](seed)
    train, held = split(law)
    rng = torch.Generator().manual_seed(seed)
    rbm = noneq.BernoulliRBM.from_data(train, HIDDEN[name], rng, scale=0.05)
    chosen, stopped, theta, now = math.inf, 0, _flat(rbm), math.inf
    every = max(1, cell.updates // CHECKS)
    try:
        for i in learn(cell, rbm, train, trial, seed):
            if i % every == 0:
                now = lost(rbm, law, held)
                if now < chosen:
                    chosen, stopped, theta = now, i, _flat(rbm)
    except FloatingPointError:
        now = math.inf
    vector_to_parameters(theta, rbm.parameters())
    seconds = time.process_time() - began
    mass = majority(rbm, law, rng) if name == "far" else math.nan
    fresh = lost(rbm, law, law.fresh)
    return Result(name, cell.name, seed, trial, stopped, chosen, fresh, now, mass, seconds)


def majority(rbm: noneq.BernoulliRBM, law: Bits, rng: torch.Generator) -> float:
    """The model's share of the rows that are nearer to the pattern of most of the data."""
    centre = law.train.mean(0) - 0.5
    x = rbm.sample(20_000, rng)
    return float(((x - 0.5) @ centre > 0).float().mean())


def _flat(rbm: noneq.BernoulliRBM) -> Tensor:
    return parameters_to_vector(rbm.parameters()).detach().clone()


def table_of(name: Name, cell: Cell, seeds: int) -> list[Result]:
    """The trials on the first seed, the best of them on the others."""
    tried = [run(name, cell, 0, trial) for trial in cell.trials]
    trial = best(tried).trial
    return tried + [run(name, cell, seed, trial) for seed in range(1, seeds)]


def best(tried: list[Result]) -> Result:
    """By validation."""
    return min(tried, key=lambda r: r.validation if r.stopped else math.inf)
