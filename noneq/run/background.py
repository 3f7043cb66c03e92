"""What a model gets when its training is over: a background, where its settings ask for one.

Training knows nothing of it. A network that is trained with a background makes modes where
foreground and background are equally unlikely (docs/lab/training.md, "A background").
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from noneq.annealing import population
from noneq.energies import (
    Cholesky,
    Foreground,
    Gaussian,
    GaussianMixture,
    path_to,
    with_background,
)
from noneq.kernels import Kernel, with_momentum
from noneq.run.recipe import Recipe

__all__ = ["finished_base", "finished_model"]

MASS = 0.01  # of a background, at most
PROBES, WALKERS, STEPS = 64, 128, 150  # of the annealing that tells the mass of a model


def finished_base(settings: Any, base: Gaussian | GaussianMixture, rows: int) -> Any:
    """Return the base of a trained model, with a background if its settings ask for one.

    Arguments:
        settings: settings of the model, perhaps with the field ``background``.
        base: base that the model was trained on.
        rows: number of training rows; the mass of the background is 1 / rows, 0.01 at most.

    Returns:
        The base with a background, see `noneq.energies.with_background`; or, where none is asked
        for or the covariance is not full, the base itself.
    """
    if not getattr(settings, "background", False) or not isinstance(base.factor, Cholesky):
        return base
    return with_background(base, min(1 / rows, MASS))


def finished_model(
    recipe: Recipe, energy: nn.Module, kernel: Kernel, rows: int, rng: torch.Generator
) -> nn.Module:
    """Return a trained model, with a background if its settings ask for one and it has none yet.

    Arguments:
        recipe: all settings of the training.
        energy: trained model.
        kernel: MCMC kernel that samples it.
        rows: number of training rows.
        rng: source of randomness of a short annealing, which estimates the log Z of the model, so
            that the background has its share of it.

    Returns:
        The model, which shares the network; a `noneq.energies.Foreground` tilts its base.

    Raises:
        TooFarError: the annealing does not reach the model.
    """
    old, net = energy.base, getattr(energy, "net", None)
    if not isinstance(old, Gaussian | GaussianMixture) or not isinstance(net, nn.Module):
        return energy
    base: Any = old if isinstance(net, Foreground) else finished_base(recipe.model, old, rows)
    if base is old:
        return energy
    if not bool(net(old.sample(PROBES, rng)).any()):  # untrained
        return Foreground.model(net, base)
    path = path_to(energy, old)
    walkers, _ = population(path, WALKERS, STEPS, rng=rng, kernel=with_momentum(kernel))
    return Foreground.model(net, base, walkers.log_z.value - old.log_z())
