"""Samples of a finished run: walkers carried or annealed from the base, or its own chains."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from noneq.annealing import Schedule, Track, population, untracked
from noneq.energies import Energy, evaluate, path_to
from noneq.kernels import Kernel, with_momentum
from noneq.numerics import full_precision
from noneq.run import checkpoint
from noneq.run.families.base import base_of
from noneq.run.folder import Run
from noneq.run.learners import at_step
from noneq.walkers import Walkers

__all__ = ["DrawnWalkers", "Source", "denoised", "draw", "draw_walkers", "take_samples"]

Source: TypeAlias = Literal["steps", "ais", "chains"]


def draw(
    run: Run, n: int, source: Source | None = None, *, weighted: bool = False, **how: Any
) -> tuple[Tensor, Tensor]:
    """Samples (n, *shape) in the model's units and their log-weights (n,), normalised.

    Arguments:
        run: with a model.
        n: how many.
        source: see `gather`.
        weighted: walkers as they are; otherwise drawn by weight, all of weight 1/n.
        how: the other arguments of `gather`.

    Raises ValueError for fewer than one sample, or more than there are chains.
    """
    return take_samples(
        draw_walkers(run, n, source, weighted=weighted, **how), n, weighted=weighted
    )


class DrawnWalkers(NamedTuple):
    """Weighted walkers of a run's model, and the generator that they were drawn by."""

    walkers: Walkers
    rng: torch.Generator


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
    """Weighted walkers, enough for n samples.

    Arguments:
        run: with a model.
        n: samples that will be taken.
        source: ``steps``: carried from the base by Euler-Maruyama and corrected on the way, what
            an interpolant does unless told otherwise; ``ais``: annealed from the base in as many
            temperatures as for log Z, what other models do; ``chains``: the run's own walkers,
            reweighted to the averaged parameters and moved on.
        weighted: the walkers are the samples.
        moves: of the chains.
        steps: of Euler-Maruyama; default: the recipe's.
        seed: of everything.
        track: shows progress, see `noneq.log_z`.
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
    """Where samples come from; ValueError for what the run's model has not."""
    carried, chains = run.family.carried, run.family.chains
    if steps is not None and steps < 1:
        raise ValueError(f"`steps` is 1 or more, got {steps}")
    if not carried and (steps or source == "steps"):
        raise ValueError(
            f"{run.folder}: `steps` lead along an interpolant, and this is a {run.recipe.kind}: "
            "leave them out (`source` ais anneals), or train with `model` interpolant"
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
    """n samples (n, *shape) of what was gathered and their log-weights (n,), normalised.

    In no order: any part of them is a sample, too.
    """
    walkers, rng = gathered
    if not weighted:
        return walkers.equal(n, rng), walkers.log_w.new_full((n,), -math.log(n))
    # resampling lines walkers up by their energy: the first of them would be the lowest
    chosen = torch.randperm(len(walkers), generator=rng, device=walkers.log_w.device)[:n]
    log_w = walkers.log_w[chosen]
    return walkers.x[chosen], log_w - log_w.logsumexp(0)


def denoised(energy: Energy, x: Tensor, noise: float) -> Tensor:
    """The mean of the clean row given a noisy one, ``x - noise^2 grad U(x)``.

    Exact where the model is that of data with Gaussian noise of that standard deviation (Tweedie's
    formula; Robbins 1956, Efron 2011).
    """
    mean: Tensor = x - noise**2 * evaluate(energy, x)[1]["g"]
    return mean


def _chains(
    run: Run, energy: nn.Module, kernel: Kernel, moves: int, rng: torch.Generator, track: Track
) -> Walkers:
    trained = checkpoint.moved(checkpoint.load(run.folder / "state")["trained"], run.device)
    if trained is None:
        raise ValueError(f"{run.folder}: has no walkers yet: it was never trained")
    saved = {**trained["walkers"], "current": False}  # they belong to the latest parameters
    walkers = Walkers.from_state_dict(saved, energy).reweight(energy)
    kernel = at_step(kernel, trained["step_size"])
    for _ in track(range(moves), "moving"):
        walkers = walkers.resample(0.5, rng).move(kernel, energy, rng)
    return walkers
