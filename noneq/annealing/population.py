"""A fresh population of weighted walkers, annealed from the start of a path to its end."""

from __future__ import annotations

import torch

from noneq.annealing.pilot import _pilot_size, pilot
from noneq.annealing.schedule import Schedule
from noneq.annealing.smc import Track, _start, anneal, untracked, with_progress
from noneq.energies import Path
from noneq.kernels import Kernel, default_kernel, with_momentum
from noneq.walkers import Walkers

__all__ = ["population"]


def population(
    path: Path,
    n: int,
    temperatures: int | Schedule,
    *,
    rng: torch.Generator,
    kernel: Kernel | None = None,
    islands: int = 8,
    track: Track = untracked,
    name: str = "forward",
) -> tuple[Walkers, Schedule]:
    """A fresh weighted sample of the end of a path, annealed from its start.

    Arguments:
        path: starts at a solvable energy, e.g. ``GeometricPath(energy.base, energy)``.
        n: walkers, a multiple of ``islands``.
        temperatures: steps, shaped by a pilot run and cycled; or a schedule used as it is.
        rng: source of randomness.
        kernel: one move, whose step the pilot adapts; default `noneq.kernels.default_kernel`: in
            general MALA that keeps its momentum (generalised HMC of one leap), preconditioned by
            the start's covariance. Not used with a schedule, which holds kernels.
        islands: groups that never exchange members, so that log Z has a standard error.
        track: shows progress, called as ``track(sequence, name)``.
        name: what the progress is called.

    Returns the walkers, and the schedule that they followed. ``walkers.equal(n, rng)`` draws an
    ordinary sample.

    Raises:
        TooFarError: the pilot does not arrive.
        FloatingPointError: the energy is NaN or -inf where the walkers are.
    """
    base = _start(path)
    if not isinstance(temperatures, Schedule):
        if kernel is None:
            probe = base.sample(1, torch.Generator(rng.device).manual_seed(0))
            kernel = with_momentum(default_kernel(base, probe, path.at(1.0)))
        found = pilot(path, kernel, rng, track=track, name=name, **_pilot_size(n, temperatures))
        temperatures = found.resized(temperatures).cycled()
    start = Walkers.sample(base, n, rng, islands=islands)
    models = with_progress(track, name, len(temperatures), temperatures.forward(path))
    least = None if getattr(path, "between", True) else 0.0
    return anneal(models, start, rng, ess_min=least), temperatures
