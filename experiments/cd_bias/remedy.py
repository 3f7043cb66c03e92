r"""What helps where modes do not mix: renewals and exchanges through the run's own models.

The same machines, chains and updates as in `experiments.cd_bias.training`. Checkpoints are kept as
the run goes. *Renewal through them* replaces the walkers by others annealed from the base through
the checkpoints (`noneq.energies.ModelsPath`); *exchange through them* keeps chains at eight of
them, from the first model to the present one, and swaps neighbours (parallel trajectory tempering:
Bereux, Decelle, Furtlehner, Rosset, Seoane 2024, arXiv 2405.15376). Exchanges have either the same
rows in all, an eighth at the model, or the same rows at the model and eight times the sweeps.

That paper found weighted training losing on clustered data. Here weights are tried without any
resampling, and resampled below one half or nine tenths.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

import noneq
from experiments.cd_bias.course import Course
from experiments.cd_bias.training import BATCH, MOVES, WALKERS, Cell, Name, Result, optimiser, run
from experiments.cd_bias.training import updates as train
from experiments.cd_bias.walks import Ladder, Sampler, exchanged
from noneq.training import renew

__all__ = ["REMEDIES", "Remedy", "learn", "remedied"]

KEEP, RENEW = 25, 150  # updates between checkpoints, between renewals


@dataclass(frozen=True)
class Remedy(Cell):
    """A way to learn, and what is done about modes.

    Attributes:
        renew: every 150 updates, as many temperatures: on the straight path or through models;
            "founders": on the straight path, judged by nothing but founders; "held out": judged
            by the log Z of as many walkers held out, too.
        ladder: of exchanges.
        rows: in all, levels counted.
    """

    renew: Literal["", "founders", "straight", "held out", "through"] = ""
    ladder: Ladder = ""
    rows: int = WALKERS

    def settings(self, trial: float) -> noneq.Settings:
        """Of `noneq.train`."""
        held = self.rows if self.renew == "held out" else None
        return replace(super().settings(trial), walkers=self.rows, held_out=held)


def _weighted(words: str, **changes: object) -> Remedy:
    return replace(Remedy(f"weights, {words}", True, True, "base"), **changes)  # type: ignore[arg-type]


REMEDIES = (
    _weighted("never resampled", ess_min=0.0),
    _weighted("resampled below 1/2"),
    _weighted("resampled below 9/10", ess_min=0.9),
    Remedy("fading weights, memory 0.9", True, True, "base", memory=0.9),
    Remedy("fading weights, memory 0.8", True, True, "base", memory=0.8),
    _weighted("64 walkers", rows=64),
    _weighted("64, renewed through models", rows=64, renew="through"),
    _weighted("renewed straight, by founders", renew="founders"),
    _weighted("renewed straight", renew="straight"),
    _weighted("renewed straight, held-out walkers", renew="held out"),
    _weighted("renewed through models", renew="through"),
    Remedy("no weights", trust=True),
    Remedy("no weights, 8 times the sweeps", trust=True, rows=8 * WALKERS),
    Remedy("exchange, temperatures", trust=True, ladder="temperatures"),
    Remedy("exchange, checkpoints", trust=True, ladder="checkpoints"),
    Remedy("exchange, checkpoints, 8 times", trust=True, ladder="checkpoints", rows=8 * WALKERS),
)


def remedied(name: Name, cell: Remedy, seed: int, trial: float) -> Result:
    """One run."""
    return run(name, cell, seed, trial, learn)


def learn(
    cell: Cell, rbm: noneq.BernoulliRBM, data: Tensor, trial: float, seed: int
) -> Iterator[int]:
    """Train; the number of updates done."""
    assert isinstance(cell, Remedy)
    if cell.ladder:
        yield from _exchanging(cell, rbm, data, trial, seed)
    elif cell.renew:
        yield from _renewing(cell, rbm, data, trial, seed)
    else:
        yield from train(cell, rbm, data, trial, seed)


def _renewing(
    cell: Remedy, rbm: noneq.BernoulliRBM, data: Tensor, trial: float, seed: int
) -> Iterator[int]:
    """`noneq.train`, interrupted for renewals."""
    rng = torch.Generator().manual_seed(1_000 + seed)
    optimizer, fall = optimiser(rbm, 1e-2, cell.updates)
    trail: list[noneq.BernoulliRBM] = []
    state, settings = None, cell.settings(trial)
    while True:
        steps = noneq.train(rbm, data, settings, optimizer=optimizer, rng=rng, resume=state)
        for found in steps:
            fall.step()
            state = found.state
            if found.iteration % KEEP == 0:
                trail.append(copy.deepcopy(rbm))
            yield found.iteration
            if found.iteration % RENEW == 0:
                break
        assert state is not None
        if state.iteration == cell.updates:
            return
        target = noneq.energies.ModelsPath(rbm.base, trail) if cell.renew == "through" else rbm
        old = state.walkers
        if cell.renew == "founders":  # whose log Z is not known says nothing against a renewal
            old = replace(old, weights=replace(old.weights, log_z_start=math.nan))
        renewed, (walkers, held) = renew(target, old, state.held_out, state.kernel, rng, RENEW)
        if renewed:
            state = replace(state, walkers=walkers, held_out=held)


def _exchanging(
    cell: Remedy, rbm: noneq.BernoulliRBM, data: Tensor, trial: float, seed: int
) -> Iterator[int]:
    """Plain gradients of the chains at the model itself, under a trust region."""
    rng = torch.Generator().manual_seed(1_000 + seed)
    optimizer, fall = optimiser(rbm, 1e-2, cell.updates)
    trust = noneq.TrustRegion(trial)
    who = Sampler("", MOVES, ladder=cell.ladder)
    own = torch.nn.utils.parameters_to_vector
    course = Course("", copy.deepcopy(rbm), data, own(rbm.parameters()).detach().clone()[None])
    start = torch.randint(len(data), (cell.rows,), generator=rng)
    v = data[start].view(who.levels, -1, data.shape[1])
    for t in range(1, cell.updates + 1):
        v = exchanged(course, who, t - 1, v, rng)
        x = data[torch.randint(len(data), (BATCH,), generator=rng)]
        optimizer.zero_grad()
        (rbm(x).mean() - rbm(v[-1]).mean()).backward()
        trust.step(optimizer, rbm, noneq.Walkers.at(v[-1], rbm))
        fall.step()
        theta = own(rbm.parameters()).detach().clone()[None]
        course = replace(course, thetas=torch.cat([course.thetas, theta]))
        yield t
