r"""Renewal: all walkers replaced by a newly annealed population.

Walkers that feed the gradient have a log Z that is biased low, since the energy rises exactly
where they stand, and every resampling costs them founders. A population annealed from the base
along a path frozen beforehand knows nothing of that. It takes over if more of its founders
survived, weighted by mass: annealing in too few steps leaves a handful, and near-copies of them
would be worse than what they replace. Many survive, too, where a mode was missed by all; then its
mass is missing in log Z. So one that finds less than what it replaces is refused.
"""

from __future__ import annotations

import math

import torch

from noneq.annealing import TooFarError, pilot, population
from noneq.energies import Energy, Path, Solvable, path_to
from noneq.kernels import BlockGibbs, Kernel, default_kernel, with_momentum
from noneq.walkers import Walkers

__all__ = ["renew"]

LOST = 0.1  # nats of log Z, a tenth of the mass: as much is put down to noise
Populations = tuple[Walkers, Walkers | None]


def renew(
    energy: Energy | Path,
    walkers: Walkers,
    held_out: Walkers | None,
    kernel: Kernel,
    rng: torch.Generator,
    temperatures: int = 500,
    *,
    weighted: bool = True,
) -> tuple[bool | None, Populations]:
    """Populations of the same sizes and islands, annealed from the energy's ``base``.

    Arguments:
        energy: the model, with a solvable ``base`` attribute; or a path to it from a solvable
            start, e.g. `noneq.energies.Through` the models of its own training.
        walkers: those that feed the gradient.
        held_out: those that do not, or None.
        kernel: one move, given a momentum if it is MALA; a pilot run adapts its steps.
            `noneq.kernels.BlockGibbs` gives way to the default where only the energy itself has
            conditionals, not those on the way (`noneq.energies.paths`).
        rng: source of randomness.
        temperatures: steps of the annealing, each one evaluation of every walker.
        weighted: False for walkers without weights: the new ones, resampled, always take over.

    Returns whether they were renewed, and the populations, new or old: False where fewer founders
    would survive, mass would be lost or the annealing does not arrive, None where the energy has
    no such base.
    """
    base = energy.start if isinstance(energy, Path) else getattr(energy, "base", None)
    if not isinstance(base, Solvable):
        return None, (walkers, held_out)
    path = energy if isinstance(energy, Path) else path_to(energy, base)
    if isinstance(kernel, BlockGibbs):
        kernel = default_kernel(base, walkers.x, path.at(1.0))
    try:
        schedule = pilot(path, with_momentum(kernel), rng)
    except TooFarError:
        return False, (walkers, held_out)
    schedule = schedule.resized(temperatures)

    def fresh(like: Walkers) -> Walkers:
        return population(path, len(like), schedule, rng=rng, islands=like.islands)[0]

    new = fresh(walkers)
    if not weighted:
        new = new.resample(1.0, rng)
    elif not new.survivors > walkers.survivors or _lost(new, held_out or walkers):
        return False, (walkers, held_out)
    return True, (new, None if held_out is None else fresh(held_out))


def _lost(new: Walkers, old: Walkers) -> bool:
    """Whether mass is missing that the old ones knew of; False where their log Z is unknown."""
    # of walkers that feed the gradient it is biased low, and tells less than the held-out ones'
    value, stderr = old.log_z
    noise = LOST if math.isnan(stderr) else max(LOST, 2 * stderr)
    return new.log_z.value < value - noise
