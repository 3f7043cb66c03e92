"""Samples of a finished run: a fresh annealed population, or its own chains carried on."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from noneq import checkpoint
from noneq.energies import Energy, evaluate, full_precision
from noneq.kernels import with_momentum
from noneq.models import Model, Move, at_step, ladder
from noneq.paths import path_to
from noneq.run import Run
from noneq.smc import Track, population, untracked
from noneq.walkers import Walkers

__all__ = ["denoised", "draw"]


@full_precision()
def draw(
    run: Run,
    n: int,
    source: Literal["ais", "chains"] = "ais",
    *,
    weighted: bool = False,
    moves: int = 100,
    seed: int = 0,
    track: Track = untracked,
) -> tuple[Tensor, Tensor]:
    """Samples (n, *shape) in the model's units and their log-weights (n,), normalised.

    Arguments:
        run: with a model.
        n: how many.
        source: ``ais``: annealed from the base in as many temperatures as for log Z; ``chains``:
            the run's own walkers, reweighted to the averaged parameters and moved on.
        weighted: walkers as they are; otherwise drawn by weight, all of weight 1/n.
        moves: of the chains.
        seed: of everything.
        track: shows progress, see `noneq.log_z`.

    Raises ValueError for fewer than one sample, or more than there are chains.
    """
    if n < 1:
        raise ValueError(f"one sample or more, not {n}")
    energy, kernel = run.model()
    rng = torch.Generator(run.device).manual_seed(seed)
    if source == "chains":
        walkers = _chains(run, energy, kernel, moves, rng, track)
    else:
        # an ordinary sample comes from four times as many weighted ones
        least = max(16, n if weighted else 4 * n)
        path, carrier = path_to(energy, energy.base), with_momentum(kernel)
        many, steps = 8 * -(-least // 8), ladder(run.recipe, energy, carrier, rng)
        walkers, _ = population(path, many, steps, rng=rng, kernel=carrier, track=track)
    if len(walkers) < n:
        raise ValueError(f"{run.folder}: has {len(walkers)} chains, not {n}; use --source ais")
    if not weighted:
        return walkers.equal(n, rng), torch.full((n,), -math.log(n), dtype=torch.float64)
    log_w = walkers.log_w[:n]
    return walkers.x[:n], log_w - log_w.logsumexp(0)


def denoised(energy: Energy, x: Tensor, noise: float) -> Tensor:
    """The mean of the clean row given a noisy one, ``x - noise^2 grad U(x)``.

    Exact where the model is that of data with Gaussian noise of that standard deviation (Tweedie's
    formula; Robbins 1956, Efron 2011).
    """
    mean: Tensor = x - noise**2 * evaluate(energy, x)[1]["g"]
    return mean


def _chains(
    run: Run, energy: Model, kernel: Move, moves: int, rng: torch.Generator, track: Track
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
