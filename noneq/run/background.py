"""What a model gets when its training is over: a background, where its settings ask for one.

Training knows nothing of it. A network that is trained with a background makes modes where
foreground and background are equally unlikely (docs/lab/training.md, "A background").
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from noneq.energies import (
    Cholesky,
    Foreground,
    Gaussian,
    GaussianMixture,
    Solvable,
    Tilted,
    fingerprint,
    with_background,
    without_background,
)
from noneq.kernels import Kernel, Refreshed
from noneq.likelihood import Estimate
from noneq.walkers import LogZ, Walkers

__all__ = [
    "finished_base",
    "finished_model",
    "on_base",
    "plain_kernel",
    "plain_model",
    "set_to_base",
    "with_walkers_of_background",
]

MASS = 0.01  # of a background, at most
DRAWN = 8  # samples of a background among the walkers


def finished_base(settings: Any, energy: nn.Module, rows: int, *, mapped: bool = False) -> Any:
    """Return the base of a trained model, with a background if its settings ask for one.

    Arguments:
        settings: settings of the model, perhaps with the field ``background``.
        energy: trained model with an attribute ``base``, or the base alone.
        rows: number of training rows; the mass of the background is 1 / rows, 0.01 at most.
        mapped: whether columns were mapped to normal variables, of which it is another one.

    Returns:
        The base with a background, see `noneq.energies.with_background`; or the base itself where
        none is asked for, it has one already, or its covariance is not full.
    """
    base = getattr(energy, "base", energy)
    if isinstance(getattr(energy, "net", None), Foreground):
        return base
    wanted = getattr(settings, "background", False)
    if not wanted or not isinstance(base, Gaussian | GaussianMixture):
        return base
    full = isinstance(base.factor, Cholesky)
    return with_background(base, min(1 / rows, MASS), mapped=mapped) if full else base


def plain_model(energy: nn.Module) -> nn.Module:
    """Return a model without its background: that whose log Z is estimated.

    Arguments:
        energy: model, with a background or without one.

    Returns:
        The model that was trained; the energy itself if it has no background.
    """
    net, base = getattr(energy, "net", None), energy.base
    if not isinstance(net, Foreground) or not isinstance(base, GaussianMixture):
        return energy
    return Tilted(without_background(base), net.net)


def plain_kernel(kernel: Kernel, plain: nn.Module) -> Kernel:
    """Return the MCMC kernel of a model as that of the model without its background.

    Arguments:
        kernel: kernel, which may propose samples of the base.
        plain: model of `plain_model`.

    Returns:
        The kernel, which proposes samples of the base of this model.
    """
    if isinstance(kernel, Refreshed) and isinstance(plain.base, Solvable):
        return replace(kernel, base=plain.base)
    return kernel


def on_base(energy: nn.Module, base: Any) -> nn.Module:
    """Put the network of a model on the base that the model has in the end.

    Arguments:
        energy: trained model.
        base: base of `finished_base`.

    Returns:
        The model, which shares the network; the energy itself if that is its base.
    """
    if base is energy.base:
        return energy
    net = energy.net
    assert isinstance(net, nn.Module)
    return Foreground.model(net, base)


def set_to_base(energy: nn.Module) -> None:
    """Make the network of a model zero, in place, so that the model is its base.

    Arguments:
        energy: model of a base and a network.

    Returns:
        Nothing.
    """
    net = energy.net
    assert isinstance(net, nn.Module)
    for p in net.parameters():
        nn.init.zeros_(p)
    if isinstance(net, Foreground):
        net.shift.zero_()


def finished_model(
    energy: nn.Module, z: Estimate, base: Any, rng: torch.Generator
) -> tuple[nn.Module, Estimate]:
    """Add a background to a trained model, and to what is known of its log Z.

    With e the mass of the background, z_0 the log Z of the base without it, and c the shift of
    the `noneq.energies.Foreground`,

        ``log Z' = log((1 - e) exp(log Z - z_0 - c) + e)``.

    Arguments:
        energy: trained model, or one that has a background from an earlier evaluation, whose shift
            is kept. Otherwise the shift is the estimate of ``log Z - z_0``, so that the background
            has the mass e of the whole.
        z: estimate of log Z of the model without the background.
        base: base of `finished_base`.
        rng: source of randomness of eight samples of the background, which the walkers get.

    Returns:
        The model and its estimate; what was given if the base has no background, or log Z is not
        known.
    """
    model = on_base(energy, base)
    net, mixture = getattr(model, "net", None), model.base
    if not isinstance(net, Foreground) or not math.isfinite(z.value):
        return energy, z
    own = plain_model(energy).base
    assert isinstance(mixture, GaussianMixture)
    assert isinstance(own, Gaussian | GaussianMixture)
    if model is not energy:
        net.shift.fill_(z.value - own.log_z())
    forward, backward = (_with_background(side, model, own) for side in (z.forward, z.backward))
    walkers, mark = _joined(z.walkers, model, forward.value, rng), fingerprint(model)
    return model, replace(z, forward=forward, backward=backward, walkers=walkers, mark=mark)


def with_walkers_of_background(
    walkers: Walkers, model: nn.Module, rng: torch.Generator
) -> Walkers:
    """Make weighted samples of a model with a background of those of the model without it.

    Arguments:
        walkers: annealed walkers of `plain_model`, whose log Z is known.
        model: model, with a background or without one.
        rng: source of randomness of the samples of the background.

    Returns:
        The walkers, and eight of the background; the walkers alone if the model has none.
    """
    net, mixture = getattr(model, "net", None), model.base
    if not isinstance(net, Foreground) or not isinstance(mixture, GaussianMixture):
        return walkers
    z = _with_background(walkers.log_z, model, without_background(mixture))
    return _joined(walkers, model, z.value, rng)


def _with_background(z: LogZ, model: nn.Module, plain: Solvable) -> LogZ:
    """Return log Z of a model, given log Z and base of the model without its background."""
    net, mixture = model.net, model.base
    assert isinstance(net, Foreground)
    assert isinstance(mixture, GaussianMixture)
    e = float(mixture.log_masses[-1].exp())
    c = float(net.shift) + plain.log_z()
    front = (1 - e) * math.exp(z.value - c)
    return LogZ(math.log(front + e), z.stderr * front / (front + e))


def _joined(walkers: Walkers, model: nn.Module, log_z: float, rng: torch.Generator) -> Walkers:
    """Join weighted samples of a model without its background and samples of the background."""
    mixture, x = model.base, walkers.x
    assert isinstance(mixture, GaussianMixture)
    share = float(mixture.log_masses[-1].exp()) / math.exp(log_z)  # of the background
    shape = DRAWN, mixture.means[0].numel()
    noise = torch.randn(shape, generator=rng, dtype=x.dtype, device=x.device)
    far = mixture.means[-1] + (noise @ mixture.roots[-1].T).view(DRAWN, *x.shape[1:])
    n = len(walkers) + DRAWN
    p = torch.cat([(1 - share) * walkers.p, walkers.p.new_full((DRAWN,), share / DRAWN)])
    new = Walkers.at(torch.cat([x, far]), model, log_z=0.0)
    old = walkers.weights.ancestors
    ancestors = torch.cat([old, torch.arange(DRAWN, device=old.device) + len(walkers)])
    weights = new.weights.add((p * n).double().log() + log_z)
    return replace(new, weights=replace(weights, ancestors=ancestors))
