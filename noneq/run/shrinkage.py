"""Shrinkage: the factor of a network's energy under which the validation rows are most likely.

A model ``exp(-U_base - s f)`` whose network f has memorised its training rows is too sure of them
with s = 1. The negative log-likelihood (NLL) of other rows falls with s at the rate

    ``dNLL/ds = E_rows f - E_s f``,

E_s the mean under the model. The network is trained where this is 0 for the training rows, and for
others it is positive. Weighted walkers (samples) of the model at s = 1, of normalised weights p_i,
estimate log Z at every s near 1,

    ``log Z(s) = log Z(1) + log sum_i p_i exp((1 - s) f(x_i))``,

so that one factor can be chosen at no cost. Derived in docs/mathematics.md.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from noneq.likelihood.score import energy_of
from noneq.models import linear_output, scale_outputs
from noneq.walkers import Walkers

__all__ = ["Shrinkage", "choose_shrinkage", "shrink"]

FACTORS = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.8, 0.75, 0.7)
LEAST = 0.3  # effective sample size of the walkers, as a fraction, at the chosen factor


class Shrinkage(NamedTuple):
    """A factor of the network's energy, and what it changes.

    Attributes:
        factor: factor s in (0, 1].
        gain: how much lower the mean NLL of the rows is than with s = 1, in nats.
    """

    factor: float
    gain: float


def choose_shrinkage(model: nn.Module, rows: Tensor, walkers: Walkers) -> Shrinkage:
    """Choose the factor under which rows are most likely.

    Only factors are tried at which the walkers keep 0.3 of their number as effective sample size.
    Near its lowest value the NLL hardly depends on the factor, so that the noise of the walkers
    costs little; the gain is high by chance by about its error.

    Arguments:
        model: energy ``U_base + f`` with an attribute ``base``.
        rows: rows (M, *shape) that the network was not trained on.
        walkers: weighted samples of the model.

    Returns:
        The factor and its gain, a `Shrinkage`; a factor of 1 if none is better, or the last layer
        of the network is not known.

    >>> import noneq, torch
    >>> rng, x = torch.Generator().manual_seed(0), torch.randn(500, 2)
    >>> model = noneq.Tilted(noneq.Gaussian.fit(x), noneq.MLP(2, width=8))
    >>> choose_shrinkage(model, x, noneq.Walkers.sample(model.base, 64, rng).reweight(model))
    Shrinkage(factor=1.0, gain=0.0)
    """
    base, net = model.base, model.net
    assert isinstance(base, nn.Module)
    assert isinstance(net, nn.Module)
    if not linear_output(net):  # one of the user's own
        return Shrinkage(1.0, 0.0)
    at_rows = float((energy_of(model, rows) - energy_of(base, rows)).mean())
    f = energy_of(model, walkers.x) - energy_of(base, walkers.x)
    log_p = walkers.log_w.detach().double().log_softmax(0)
    best = Shrinkage(1.0, 0.0)
    for factor in FACTORS:
        tilted = log_p + (1 - factor) * f
        log_ratio = float(tilted.logsumexp(0))
        effective = math.exp(2 * log_ratio - float((2 * tilted).logsumexp(0))) / len(f)
        gain = (1 - factor) * at_rows - log_ratio
        if effective >= LEAST and gain > best.gain:
            best = Shrinkage(factor, gain)
    return best


@torch.no_grad()
def shrink(model: nn.Module, factor: float) -> None:
    """Multiply the network's energy in a model by a factor, in place.

    Arguments:
        model: energy with an attribute ``net``, made of networks of `noneq.models`.
        factor: factor s.

    Returns:
        Nothing.
    """
    net = model.net
    assert isinstance(net, nn.Module)
    if factor != 1:
        scale_outputs(net, factor)
