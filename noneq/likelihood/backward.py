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
from noneq.likelihood.starts import rare_rows, reweighted
from noneq.walkers import LogZ, Walkers, move_together

__all__ = ["backward_side", "equilibrated"]


def equilibrated(forward: Forward, data: Tensor | None, plan: Plan) -> tuple[Walkers, Tensor]:
    """Run Markov chains under the model, to get an approximate sample of the model.

    Further chains, from rows of rare kinds (`noneq.likelihood.starts.rare_rows`), run beside them.
    They are more than such rows are likely, and so only show where modes may be.

    Arguments:
        forward: result of forward annealing, whose walkers (weighted samples) have reached the
            model; the chains start from these, resampled to equal weights.
        data: rows (M, *shape), from which the first half of the chains start instead; or None.
        plan: settings of `noneq.log_z`, with the number of moves.

    Returns:
        The last states of the chains, as walkers of equal weight, in as many islands (groups that
        are resampled separately) as the forward walkers; and the positions (N + k, *shape) of
        these and of the further chains.

    Raises:
        ValueError: moves are asked for, but the annealing schedule has no kernel that leaves the
            model invariant.
    """
    kernel = _equilibration_kernel(forward.schedule, plan.moves)
    end = forward.path.at(1.0)
    starts, rare = _starts(forward.walkers, data, plan.rng, rare=plan.extra_starts)
    runs = [Walkers.at(starts, end, log_z=0.0, islands=forward.walkers.islands)]
    if len(rare) == 1:  # walkers are two or more
        rare = torch.cat([rare, rare])
    if len(rare):
        runs.append(Walkers.at(rare, end, log_z=0.0))
    for _ in plan.track(range(plan.moves), "equilibrating"):
        runs = move_together(runs, kernel, end, plan.rng)
    return runs[0], torch.cat([run.x for run in runs])


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


def _starts(
    forward: Walkers, data: Tensor | None, rng: torch.Generator, *, rare: bool = True
) -> tuple[Tensor, Tensor]:
    """Starts (N, *shape) of the chains: rows of data, then as many resampled forward walkers.

    And, with ``rare``, starts of further chains: rows of rare kinds.
    """
    n = len(forward)
    # as one island: a mode that one of them found counts for what it weighs; their order stays
    together = replace(forward, weights=replace(forward.weights, islands=1))
    arrived = together.resample(1.0, rng).x
    if data is None:
        return arrived, arrived[:0]
    order = torch.rand(len(data), generator=rng, device=data.device).argsort()
    rows = order.repeat(math.ceil(n / 2 / len(order)))[: n // 2]
    starts = torch.cat([data[rows].to(arrived.dtype), arrived[::2]])
    more = rare_rows(data, order, n // 2) if rare else order[:0]
    return starts, data[more].to(arrived.dtype)
