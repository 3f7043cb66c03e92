"""The backward side of a bracket: chains of the model, annealed down to the forward start."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from noneq.annealing import Schedule, anneal
from noneq.annealing.smc import with_progress
from noneq.energies import (
    Energy,
    GaussianMixture,
    Mixture,
    Solvable,
    path_to,
)
from noneq.kernels import Kernel
from noneq.likelihood.forward import Forward, Plan
from noneq.likelihood.score import energy_of
from noneq.likelihood.starts import reweighted
from noneq.walkers import LogZ, Walkers

__all__ = ["backward_side", "equilibrated"]


def equilibrated(forward: Forward, data: Tensor | None, plan: Plan) -> Walkers:
    """Chains that have moved under the model, as an approximate sample of it.

    Arguments:
        forward: walkers that have arrived at the model; chains start from a resample of them.
        data: rows (M, *shape) that half of the chains start from, or None.
        plan: how many moves, and what all phases share.

    Returns chains of equal weight in the forward walkers' islands: those of the first half started
    from data.

    Raises ValueError for moves by a schedule whose kernels only lead from model to model.
    """
    equilibration_kernel, end = _resting(forward.schedule, plan.moves), forward.path.at(1.0)
    starts = _starts(forward.walkers, data, plan.rng)
    chains = Walkers.at(starts, end, log_z=0.0, islands=forward.walkers.islands)
    for _ in plan.track(range(plan.moves), "equilibrating"):
        chains = chains.move(equilibration_kernel, end, plan.rng)
    return chains


def backward_side(
    energy: Energy, forward: Forward, chains: Walkers, plan: Plan
) -> tuple[Walkers, LogZ]:
    """Chains of the model, annealed down to where the forward walkers started; log Z by them.

    Where the forward side started at a fitted mixture, its masses are first set to those that the
    forward walkers give them (`noneq.likelihood.starts.reweighted`).

    Arguments:
        energy: the model.
        forward: the side whose path and schedule are followed back.
        chains: a sample of the model, see `equilibrated`.
        plan: what all phases share.

    Returns the walkers at the start, and the model's log Z, on average over runs too high.
    """
    schedule, path, start = forward.schedule, forward.path, forward.path.start
    assert isinstance(start, Solvable)
    uncertain = 0.0
    if forward.fitted:
        assert isinstance(start, GaussianMixture | Mixture)
        start, uncertain = reweighted(start, forward.walkers, chains.x)
        path = path_to(energy, start)
    models = with_progress(
        plan.track, "backward", schedule.n_backward_steps, schedule.backward(path)
    )
    walkers = anneal(models, chains, plan.rng)
    ratio = walkers.log_z  # of the start's Z to the model's
    reach = _reach(energy, start, len(chains), plan.rng)
    value = start.log_z() + reach.value - ratio.value
    return walkers, LogZ(value, math.hypot(ratio.stderr, reach.stderr, uncertain))


def _resting(schedule: Schedule, moves: int) -> Kernel:
    """What moves under the model; ValueError where moves are asked for and nothing does."""
    equilibration_kernel = schedule.equilibration_kernel
    if equilibration_kernel is None and moves:
        raise ValueError(
            "the schedule's kernels only lead from time to time, so that nothing equilibrates the "
            "backward side: give noneq.kernels.Chain((kernel, noneq.MALA(h))) a move at each "
            "time, or, if the data are exact samples of the model, equilibrate=0"
        )
    return equilibration_kernel or schedule.kernels[-1]


def _reach(energy: Energy, base: Solvable, n: int, rng: torch.Generator) -> LogZ:
    """Log of the base's mass where the energy is finite: the way back ends nowhere else."""
    finite, rounds = 0, 16
    for k in range(1, rounds + 1):
        finite += int((energy_of(energy, base.sample(n, rng)) < math.inf).sum())
        if finite == k * n:  # no wall, or none that matters
            return LogZ(0.0, 0.0)
    share = max(finite, 1) / (rounds * n)
    return LogZ(math.log(share), math.sqrt((1 - share) / (share * rounds * n)))


def _starts(forward: Walkers, data: Tensor | None, rng: torch.Generator) -> Tensor:
    """Half data, half forward walkers by weight: islands of either kind."""
    n = len(forward)
    # as one island: a mode that one of them found counts for what it weighs; their order stays
    together = replace(forward, weights=replace(forward.weights, islands=1))
    arrived = together.resample(1.0, rng).x
    if data is None:
        return arrived
    half = arrived[::2]
    rows = torch.rand(len(data), generator=rng, device=data.device).argsort()
    rows = rows.repeat(math.ceil(n / 2 / len(rows)))[: n // 2]
    return torch.cat([data[rows].to(arrived.dtype), half])
