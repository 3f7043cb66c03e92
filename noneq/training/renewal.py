"""Renewal: replacing all walkers in training by a newly annealed population of weighted samples.

Walkers that the gradient is computed from have a log Z that is biased low, since the energy rises
where they are; and every resampling leaves fewer of the walkers' ancestors, the samples from which
they descend. A population annealed anew from the base to the model has neither fault. It replaces
the old one if it has more effective ancestors (ancestors counted by their share of the weight):
annealing in too few steps leaves a handful, and near-copies of them would be worse than what they
replace. A population that has missed a mode can have many ancestors, too, but has a lower log Z.
So one whose log Z is below that of the old walkers is refused.
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
    """Replace walkers (weighted samples) by new ones annealed from the base, if these are better.

    Training biases log Z of walkers low, and resampling leaves few ancestors, samples from which
    the walkers descend. New walkers, as many as the old ones, replace these if they have more
    effective ancestors (``1 / sum_a P_a^2``, P_a the weight that descends from ancestor a) and log
    Z is not lower beyond noise: a lower log Z shows that annealing has missed a mode.

    Arguments:
        energy: model, with a solvable energy (one with exact samples and log Z) as its attribute
            ``base``; or a path from a solvable energy to the model, e.g.
            `noneq.energies.ModelsPath` through the checkpoints.
        walkers: walkers that the gradient is computed from.
        held_out: walkers that follow the model but are not used in the gradient; None: no such
            walkers.
        kernel: kernel of one move; a pilot run adapts its step size. MALA is replaced by
            generalised HMC, and block Gibbs by `noneq.kernels.default_kernel` where the energies
            between base and model have no method ``gibbs``.
        rng: source of randomness.
        temperatures: number of annealing steps, each one evaluation of every walker.
        weighted: whether log-weights are used. If False, new walkers are resampled to equal
            weights and always replace the old ones.

    Returns:
        A flag and the pair (walkers, held_out), new or old. The flag is True if the walkers are
        new, False if the new ones were refused or annealing did not reach the model, and None if
        there is no solvable base.
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
    """Return whether the new log Z is lower than the old one by more than the noise."""
    # log Z of the gradient walkers is biased low, so that of the held-out ones is preferred
    value, stderr = old.log_z
    noise = LOST if math.isnan(stderr) else max(LOST, 2 * stderr)
    return new.log_z.value < value - noise


def renewals(energy: nn.Module, settings: Settings) -> int:
    """Compute the number of iterations after which walkers are replaced by newly annealed ones.

    It is 0 for walkers that restart at the data in every iteration. For RBMs, and with a
    forgetting factor of log-weights below 1, only held-out walkers are replaced, and it is 0
    without these.

    Arguments:
        energy: model that is trained.
        settings: settings of the training; in all other cases the field ``renew`` is the number.

    Returns:
        The number of iterations from one replacement to the next; 0 if walkers are never replaced.
    """
    if settings.restart or (_held_out_alone(energy, settings) and not settings.held_out):
        return 0
    return settings.renew or 0


def _held_out_alone(energy: nn.Module, settings: Settings) -> bool:
    """Return whether only the held-out walkers are renewed.

    Walkers annealed from independent units may miss a mode of an RBM (docs/rbm_bias.md); and
    walkers whose weights decay keep so many ancestors that a renewal would always be refused.
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
    """Apply `renew`, which anneals new walkers, to all walkers or only to the held-out ones.

    Only held-out walkers, which the gradient does not use, are replaced for RBMs, and if
    log-weights are multiplied by a forgetting factor below 1 in each iteration.

    Arguments:
        energy: model, with an energy of exact samples and log Z as its attribute ``base``.
        walkers: walkers (weighted samples of the model) that the gradient is computed from.
        held: held-out walkers; None: no such walkers.
        kernel: kernel of one move.
        rng: source of randomness.
        settings: settings of the training.

    Returns:
        A flag and the pair (walkers, held-out walkers), new or old. The flag is True if walkers
        were replaced, False if the new ones were refused or annealing did not reach the model, and
        None if none were annealed.
    """
    steps = settings.temperatures
    if held is None or not _held_out_alone(energy, settings):
        weighted = settings.weighted
        return renew(energy, walkers, held, kernel, rng, steps, weighted=weighted)
    renewed, (held, _) = renew(energy, held, None, kernel, rng, steps)
    return renewed, (walkers, held)
