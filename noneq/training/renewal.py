r"""Renewal: all walkers replaced by a newly annealed population.

Walkers that feed the gradient have a log Z that is biased low, since the energy rises exactly
where they stand, and every resampling costs them ancestors. A population annealed from the base
along a path frozen beforehand knows nothing of that. It takes over if more of its ancestors
are left, weighted by mass: annealing in too few steps leaves a handful, and near-copies of them
would be worse than what they replace. Many survive, too, where a mode was missed by all; then its
mass is missing in log Z. So one that finds less than what it replaces is refused.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from noneq.annealing import TooFarError, pilot, population
from noneq.energies import Conditional, Energy, Path, Solvable, path_to
from noneq.kernels import BlockGibbs, Kernel, default_kernel, with_momentum
from noneq.training.settings import Settings
from noneq.walkers import Walkers

__all__ = ["renew", "renewals", "renewed_by"]

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
            start, e.g. `noneq.energies.ModelsPath` the models of its own training.
        walkers: those that feed the gradient.
        held_out: those that do not, or None.
        kernel: one move, given a momentum if it is MALA; a pilot run adapts its steps.
            `noneq.kernels.BlockGibbs` gives way to the default where only the energy itself has
            conditionals, not those on the way (`noneq.energies.paths`).
        rng: source of randomness.
        temperatures: steps of the annealing, each one evaluation of every walker.
        weighted: False for walkers without weights: the new ones, resampled, always take over.

    Returns whether they were renewed, and the populations, new or old: False where fewer ancestors
    would be left, mass would be lost or the annealing does not arrive, None where the energy has
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
    elif not _more_ancestors(new, walkers) or _lost(new, held_out or walkers):
        return False, (walkers, held_out)
    return True, (new, None if held_out is None else fresh(held_out))


def _more_ancestors(new: Walkers, old: Walkers) -> bool:
    return new.effective_ancestors > old.effective_ancestors


def _lost(new: Walkers, old: Walkers) -> bool:
    """Whether mass is missing that the old ones knew of; False where their log Z is unknown."""
    # of walkers that feed the gradient it is biased low, and tells less than the held-out ones'
    value, stderr = old.log_z
    noise = LOST if math.isnan(stderr) else max(LOST, 2 * stderr)
    return new.log_z.value < value - noise


def renewals(energy: nn.Module, settings: Settings) -> int:
    """Iterations between renewals; 0 where there is nobody to renew."""
    if settings.restart or (_held_out_alone(energy, settings) and not settings.held_out):
        return 0
    return settings.renew or 0


def _held_out_alone(energy: nn.Module, settings: Settings) -> bool:
    """Whether walkers that feed the gradient are never renewed, only those that tell log Z.

    Annealed from independent units a machine's may miss a mode (docs/rbm_bias.md); and walkers
    whose weights decay keep so many ancestors that no renewal would beat them.
    """
    forgetting = settings.weighted and settings.forgetting_factor < 1
    return isinstance(energy, Conditional) or forgetting


def renewed_by(
    energy: nn.Module,
    walkers: Walkers,
    held: Walkers | None,
    kernel: Kernel,
    rng: torch.Generator,
    settings: Settings,
) -> tuple[bool | None, tuple[Walkers, Walkers | None]]:
    """`renew`, of all walkers or of those held out, as the settings have it."""
    steps = settings.temperatures
    if held is None or not _held_out_alone(energy, settings):
        weighted = settings.weighted
        return renew(energy, walkers, held, kernel, rng, steps, weighted=weighted)
    renewed, (held, _) = renew(energy, held, None, kernel, rng, steps)
    return renewed, (walkers, held)
