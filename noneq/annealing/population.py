"""A weighted sample of the energy at the end of a path, annealed from samples of the start."""

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
    """Draw a weighted sample of the end of a path by annealing from its start.

    Arguments:
        path: path that is annealed along, whose start has exact log Z and samples, e.g.
            ``noneq.energies.GeometricPath(base, energy)``.
        n: number of walkers (weighted samples), a multiple of ``islands``.
        temperatures: number of annealing steps, or a schedule. For a number, a pilot run (`pilot`)
            on other walkers finds inverse temperatures and step sizes, and the step sizes are
            multiplied by a cycle of scales (`Schedule.cycled`); a schedule is used as it is.
        rng: source of randomness.
        kernel: kernel of one move, whose step size the pilot run adapts. By default generalised
            HMC of one leapfrog step, preconditioned by the covariance of the path's start, or for
            discrete variables that of `noneq.kernels.default_kernel`. Ignored if a schedule is
            given, which has its own kernels.
        islands: number of groups of walkers that are resampled separately, so that the spread of
            their log Z gives a standard error.
        track: function that shows progress, called as ``track(sequence, name)``.
        name: name of the annealing run in the progress display.

    Returns:
        The walkers, weighted for the end of the path, and the schedule that they followed.
        ``walkers.equal(n, rng)`` draws an unweighted sample.

    Raises:
        TooFarError: the pilot run does not reach the end of the path.
        FloatingPointError: the energy is NaN or -inf where the walkers are.

    >>> import torch, noneq
    >>> rng, target = torch.Generator().manual_seed(0), noneq.testing.banana()
    >>> base = noneq.Gaussian(torch.zeros(2), noneq.energies.Identity(1.6))
    >>> path = noneq.energies.GeometricPath(base, target.energy)
    >>> walkers, schedule = noneq.population(path, 512, 100, rng=rng)
    >>> abs(walkers.log_z.value - target.log_z) < 0.2, len(schedule)
    (True, 100)
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
