"""The backward estimate of log Z: samples of the model, annealed to the start of the forward path.

`equilibrated` runs Markov chains under the model until they are an approximate sample of it;
`backward_side` anneals these samples along the forward schedule in reverse.
"""

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
from noneq.likelihood.starts import reweighted, starting_rows
from noneq.walkers import LogZ, Walkers

__all__ = ["backward_side", "equilibrated"]


def equilibrated(forward: Forward, data: Tensor | None, plan: Plan) -> Walkers:
    """Run Markov chains under the model, to get an approximate sample of the model.

    Arguments:
        forward: result of forward annealing, whose walkers (weighted samples) have reached the
            model; the chains start from these, resampled to equal weights.
        data: rows (M, *shape), from which the first half of the chains start instead; or None.
        plan: settings of `noneq.log_z`, with the number of moves.

    Returns:
        The last states of the chains, as walkers of equal weight, in as many islands (groups that
        are resampled separately) as the forward walkers.

    Raises:
        ValueError: moves are asked for, but the annealing schedule has no kernel that leaves the
            model invariant.
    """
    equilibration_kernel, end = (
        _equilibration_kernel(forward.schedule, plan.moves),
        forward.path.at(1.0),
    )
    starts = _starts(forward.walkers, data, plan.rng)
    chains = Walkers.at(starts, end, log_z=0.0, islands=forward.walkers.islands)
    for _ in plan.track(range(plan.moves), "equilibrating"):
        chains = chains.move(equilibration_kernel, end, plan.rng)
    return chains


def backward_side(
    energy: Energy, forward: Forward, chains: Walkers, plan: Plan
) -> tuple[Walkers, LogZ]:
    """Estimate log Z of a model from above, by annealing samples of the model backward.

    The samples are annealed from the model to the energy at which forward annealing started. If
    this is a mixture fitted to the chains, the masses of its components are first set to those
    that the forward walkers give them (`noneq.likelihood.starts.reweighted`).

    Arguments:
        energy: the model.
        forward: result of forward annealing, whose path and schedule are traversed backward.
        chains: approximate sample of the model, made by `equilibrated`.
        plan: settings of `noneq.log_z`.

    Returns:
        The walkers (weighted samples) at the end of backward annealing, and the estimate of the
        model's log Z, an upper bound on average over runs, with its standard error.
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
    finite = _log_finite_mass(energy, start, len(chains), plan.rng)
    value = start.log_z() + finite.value - ratio.value
    return walkers, LogZ(value, math.hypot(ratio.stderr, finite.stderr, uncertain))


def _equilibration_kernel(schedule: Schedule, moves: int) -> Kernel:
    """The kernel that moves under the model; ValueError where moves need one and none is there."""
    equilibration_kernel = schedule.equilibration_kernel
    if equilibration_kernel is None and moves:
        raise ValueError(
            "the schedule's kernels only carry walkers from one model to the next, so that none "
            "equilibrates the chains of the backward annealing: add a move at each time with "
            "noneq.kernels.Chain((kernel, noneq.MALA(h))), or, if the data are exact samples of "
            "the model, take equilibrate=0"
        )
    return equilibration_kernel or schedule.kernels[-1]


def _log_finite_mass(energy: Energy, base: Solvable, n: int, rng: torch.Generator) -> LogZ:
    """Log of the base's mass where the energy is finite: backward annealing ends nowhere else."""
    finite, rounds = 0, 16
    for k in range(1, rounds + 1):
        finite += int((energy_of(energy, base.sample(n, rng)) < math.inf).sum())
        if finite == k * n:  # the energy is finite everywhere, or nearly so
            return LogZ(0.0, 0.0)
    share = max(finite, 1) / (rounds * n)
    return LogZ(math.log(share), math.sqrt((1 - share) / (share * rounds * n)))


def _starts(forward: Walkers, data: Tensor | None, rng: torch.Generator) -> Tensor:
    """Starts (N, *shape) of the chains: rows of data, then as many resampled forward walkers."""
    n = len(forward)
    # as one island: a mode that one of them found counts for what it weighs; their order stays
    together = replace(forward, weights=replace(forward.weights, islands=1))
    arrived = together.resample(1.0, rng).x
    if data is None:
        return arrived
    half = arrived[::2]
    rows = starting_rows(data, n // 2, rng)
    return torch.cat([data[rows].to(arrived.dtype), half])
