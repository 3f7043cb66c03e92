"""Samples of a trained run's model, with their weights.

Weighted walkers are carried from the base by Euler-Maruyama steps or by annealing, or are the
Markov chains of the training. `draw` returns samples; it calls `draw_walkers`, which makes
the walkers, and `take_samples`, which resamples them.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from noneq.annealing import Schedule, Track, population, untracked
from noneq.energies import path_to
from noneq.kernels import Kernel, with_momentum
from noneq.numerics import full_precision
from noneq.run import checkpoint
from noneq.run.families.base import base_of
from noneq.run.folder import Run
from noneq.run.learners import at_step
from noneq.walkers import Walkers

__all__ = ["DrawnWalkers", "Source", "draw", "draw_walkers", "take_samples"]

Source: TypeAlias = Literal["steps", "ais", "chains"]
"""The origin of walkers: Euler-Maruyama steps, annealing (AIS), or the chains of the training."""


def draw(
    run: Run, n: int, source: Source | None = None, *, weighted: bool = False, **how: Any
) -> tuple[Tensor, Tensor]:
    """Draw samples from the model of a trained run.

    Arguments:
        run: trained run.
        n: number of samples.
        source: origin of the walkers, see `draw_walkers`.
        weighted: whether to return walkers with their weights; otherwise walkers are resampled,
            and each sample has weight 1/n.
        how: ``moves``, ``steps``, ``seed`` and ``track`` of `draw_walkers`.

    Returns:
        Samples (n, *shape) in the model's units, and their log-weights (n,), normalised.

    Raises:
        ValueError: ``n`` is less than 1, or more than the walkers of the training that
            ``source="chains"`` takes.
    """
    return take_samples(
        draw_walkers(run, n, source, weighted=weighted, **how), n, weighted=weighted
    )


class DrawnWalkers(NamedTuple):
    """Weighted walkers of a run's model, and the generator of random numbers that drew them."""

    walkers: Walkers
    """weighted sample of the model"""
    rng: torch.Generator
    """source of randomness, to take samples from the walkers by `take_samples`"""


@full_precision()
def draw_walkers(
    run: Run,
    n: int,
    source: Source | None = None,
    *,
    weighted: bool = False,
    moves: int = 100,
    steps: int | None = None,
    seed: int = 0,
    track: Track = untracked,
) -> DrawnWalkers:
    """Draw weighted walkers from the model of a trained run, enough to take n samples.

    Arguments:
        run: trained run.
        n: number of samples that will be taken.
        source: origin of the walkers. ``steps``: carried by Euler-Maruyama steps with corrections
            from the base (the energy that training started from), the default of interpolants;
            ``ais``: annealed from the base, at the temperatures of the estimate of log Z, the
            default of other models; ``chains``: the walkers of the training, reweighted to the
            averaged parameters and moved.
        weighted: whether the walkers themselves will be the samples; otherwise four times as
            many are drawn.
        moves: number of MCMC moves of the walkers, for ``chains``.
        steps: number of Euler-Maruyama steps, for ``steps``; default: that of the run's recipe.
        seed: seed of all randomness.
        track: progress display, see `noneq.log_z`.

    Returns:
        The walkers and the generator that drew them.

    Raises:
        ValueError: ``n`` is less than 1, or more than the walkers of the training for ``chains``,
            or this kind of model does not have the source.
    """
    if n < 1:
        raise ValueError(f"one sample or more, not {n}")
    source = _source(run, source, steps)
    energy, kernel = run.model()
    rng = torch.Generator(run.device).manual_seed(seed)
    if source == "chains":
        walkers = _chains(run, energy, kernel, moves, rng, track)
        if len(walkers) < n:
            raise ValueError(
                f"{run.folder}: has {len(walkers)} chains, not {n}; take `source` ais"
            )
        return DrawnWalkers(walkers, rng)
    # an ordinary sample comes from four times as many weighted ones
    least = max(16, n if weighted else 4 * n)
    path, many = path_to(energy, base_of(energy)), 8 * -(-least // 8)
    carrier = with_momentum(kernel)
    schedule: int | Schedule
    if source == "steps":
        schedule = run.family.transport(run.recipe, energy, kernel, rng, steps)
    else:
        schedule = run.family.annealing_schedule(run.recipe, energy, carrier, rng)
    walkers, _ = population(path, many, schedule, rng=rng, kernel=carrier, track=track)
    return DrawnWalkers(walkers, rng)


def _source(run: Run, source: Source | None, steps: int | None) -> Source:
    """The origin of samples; ValueError for one that the run's model does not have."""
    carried, chains = run.family.carried, run.family.chains
    if steps is not None and steps < 1:
        raise ValueError(f"`steps` is 1 or more, got {steps}")
    if not carried and (steps or source == "steps"):
        raise ValueError(
            f"{run.folder}: `steps` carry walkers along an interpolant, and this is a "
            f"{run.recipe.kind}: leave them out (`source` ais anneals), or train with "
            "`model` interpolant"
        )
    if not chains and source == "chains":
        raise ValueError(
            f"{run.folder}: a model of kind {run.recipe.kind} is trained without walkers: it has "
            "no chains; take `source` steps or ais"
        )
    if steps and source == "ais":
        raise ValueError("`steps` are those of `source` steps: leave one of the two out")
    return source or ("steps" if carried else "ais")


def take_samples(
    gathered: DrawnWalkers, n: int, *, weighted: bool = False
) -> tuple[Tensor, Tensor]:
    """Take samples from weighted walkers, in random order, so that any slice is a fair sample.

    Arguments:
        gathered: walkers from `draw_walkers`.
        n: number of samples.
        weighted: whether to return walkers with their weights; otherwise walkers are resampled,
            and each sample has weight 1/n.

    Returns:
        Samples (n, *shape) and their log-weights (n,), normalised.
    """
    walkers, rng = gathered
    if not weighted:
        return walkers.equal(n, rng), walkers.log_w.new_full((n,), -math.log(n))
    # resampling orders walkers by their energy: the first would be the lowest
    chosen = torch.randperm(len(walkers), generator=rng, device=walkers.log_w.device)[:n]
    part = walkers[chosen]
    return part.x, part.weights.log_p


def _chains(
    run: Run, energy: nn.Module, kernel: Kernel, moves: int, rng: torch.Generator, track: Track
) -> Walkers:
    trained = checkpoint.moved(checkpoint.load(run.folder / "state")["trained"], run.device)
    if trained is None:
        raise ValueError(f"{run.folder}: has no walkers yet: it was never trained")
    # their weights are those of the latest parameters, not of the average
    saved = {**trained["walkers"], "current": False}
    walkers = Walkers.from_state_dict(saved, energy).reweight(energy)
    kernel = at_step(kernel, trained["step_size"])
    for _ in track(range(moves), "moving"):
        walkers = walkers.resample(0.5, rng).move(kernel, energy, rng)
    return walkers
