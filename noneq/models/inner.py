"""Networks whose energy is an inner product with the vectors of another network.

A score has d numbers where an energy has one, and the last layer of a network for an energy is
narrow: a single unit. Here a network N returns a vector, as one that denoises does, and the energy
is an inner product with it, so that N is a part of its gradient. Compare Salimans and Ho 2021,
"Should EBMs model the energy or the score?", whose energy is ``|x - D(x, t)|^2 / 2 s^2`` for a
denoiser D. What else was tried is in docs/lab/interpolants.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from noneq.models.networks import MLP, TimedMLP
from noneq.random import seeded

__all__ = ["InnerProduct", "TimedInnerProduct"]

REACH = 10.0  # squared distance, in mean ones of the data, from which on N's input is bounded


class _Centred(nn.Module):
    """What both networks share: mean and size of the data, and the input of the network N."""

    mean: Tensor
    reach: Tensor

    def __init__(self, net: MLP | TimedMLP) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.zeros(net.shape))
        self.register_buffer("reach", torch.tensor(REACH * math.prod(net.shape)))

    def centred(self, mean: Tensor, covariance: Tensor) -> Self:
        """Set the mean m of the data (*shape) and their covariance C (d, d).

        Arguments:
            mean: mean m.
            covariance: covariance C, of which the trace matters.

        Returns:
            The network itself.
        """
        self.mean.copy_(mean)
        self.reach.copy_(REACH * covariance.trace())
        return self

    def _product(self, x: Tensor, *rest: Tensor | torch.Generator | None) -> Tensor:
        """Return ``<x - m, N(c, ...)>`` (B,)."""
        y = (x - self.mean).flatten(1)
        c = y / (1 + y.square().sum(1, keepdim=True) / self.reach).sqrt()
        n: Tensor = self.net(c.view_as(x) + self.mean, *rest)
        return (y * n.flatten(1)).sum(1)


class InnerProduct(_Centred):
    """Map each row to a number by an inner product with the vectors of a network.

    With the mean m and the covariance C of the data, and a fully connected network N,

        ``f(x) = <x - m, N(c)>``,  ``c = m + (x - m) / sqrt(1 + |x - m|^2 / (10 tr C))``,

    so that ``grad f = N + ...``: what a network of vectors knows of a score, the energy knows. The
    input c is x, 5 % nearer to m, for typical rows, and bounded far away. Then f grows as the
    distance from m, and a Gaussian base confines the model ``exp(-U_base - f)``; with x itself as
    input f grows as its square, and the model may have no integral. N and f are 0 before training.

    Arguments:
        shape: shape of one row, e.g. ``64`` or ``(1, 8, 8)``.
        width: number of hidden units in each layer of N.
        depth: number of hidden layers of N.
        gain: factor that multiplies torch's default initial weights of the first layer.

    Attributes:
        mean: mean m of the data (*shape), at first 0.
        reach: ``10 tr C``, at first that of data whose covariance is the identity.

    >>> import torch, noneq
    >>> x = torch.randn(50, 3)
    >>> base = noneq.Gaussian.fit(x)
    >>> net = InnerProduct(3, width=32).centred(base.mean, base.covariance())
    >>> energy = noneq.Tilted(base, net)
    >>> tuple(energy(x).shape), bool((net(x) == 0).all())
    ((50,), True)
    """

    net: MLP

    def __init__(
        self, shape: int | Sequence[int], width: int = 256, depth: int = 2, *, gain: float = 3.0
    ) -> None:
        super().__init__(MLP(shape, width, depth, gain=gain, field=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return the numbers f(x) (B,), one for each row of x (B, *shape)."""
        return self._product(x)

    def timed(self, *, gain: float = 3.0, dropout: float = 0.0) -> TimedInnerProduct:
        """Make an untrained network of the same size and centre that also depends on the time.

        Arguments:
            gain: factor that multiplies torch's default initial weights from x to the first layer.
            dropout: probability with which hidden units are dropped in score matching.

        Returns:
            The network f(x, t), on the CPU.
        """
        own = self.net
        timed = TimedInnerProduct(own.shape, own.width, own.depth, gain=gain, dropout=dropout)
        timed.mean.copy_(self.mean)
        timed.reach.copy_(self.reach)
        return timed


class TimedInnerProduct(_Centred):
    """Map rows x and times t to numbers f(x, t) by an inner product with a network's vectors.

    It is an `InnerProduct` whose network N also depends on the time,

        ``f(x, t) = <x - m, N(c, t)>``,  ``c = m + (x - m) / sqrt(1 + |x - m|^2 / (10 tr C))``,

    as part of the energy ``U_G + beta(t) f(x, t)`` of a `noneq.models.interpolants.TimedEnergy`.

    On digits, after score matching of equal length, rows that were held out had 9.0 nats, and 10.6
    with a `TimedMLP` of the same width (docs/lab/interpolants.md). Without dropout it overfits.

    Arguments:
        shape: shape of one row, e.g. ``64`` or ``(1, 8, 8)``.
        width: number of hidden units in each layer of N.
        depth: number of hidden layers of N.
        gain: factor that multiplies torch's default initial weights from x to the first layer.
        dropout: probability with which hidden units are dropped in
            `noneq.models.interpolants.TimedEnergy.score_loss`, and only there.

    Attributes:
        mean: mean m of the data (*shape), at first 0.
        reach: ``10 tr C``, at first that of data whose covariance is the identity.

    Raises:
        ValueError: ``dropout`` is not in its range.

    >>> import noneq, torch
    >>> from noneq.models import TimedInnerProduct
    >>> from noneq.models.interpolants import TimedEnergy
    >>> rows, rng = torch.randn(100, 3), torch.Generator().manual_seed(0)
    >>> base = noneq.Gaussian.fit(rows, noise=0.1)
    >>> net = TimedInnerProduct(3, width=32).centred(base.mean, base.covariance())
    >>> energy = TimedEnergy(base, net, 0.1)
    >>> energy(rows).shape, energy.score_loss(rows, rng).shape
    (torch.Size([100]), torch.Size([]))
    >>> model = noneq.Tilted(base, energy.net.frozen(1.0))  # of x alone
    """

    net: TimedMLP

    def __init__(
        self,
        shape: int | Sequence[int],
        width: int = 256,
        depth: int = 2,
        *,
        gain: float = 3.0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(TimedMLP(shape, width, depth, field=True, gain=gain, dropout=dropout))

    @property
    def dropout(self) -> float:
        """The probability with which hidden units are dropped in score matching."""
        return self.net.dropout

    def forward(self, x: Tensor, t: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Compute f(x, t) for rows x at times t.

        Arguments:
            x: rows (B, *shape).
            t: times (B,) in [0, 1], one for each row.
            rng: source of randomness that chooses the hidden units to drop; None: none is dropped.

        Returns:
            The numbers f(x, t) (B,).
        """
        return self._product(x, t, rng)

    @torch.no_grad()
    def frozen(self, t: float) -> InnerProduct:
        """Make a network of x alone that equals this one at a fixed time t.

        Arguments:
            t: time in [0, 1].

        Returns:
            The network ``(B, *shape) -> (B,)``, which has its own parameters and may be trained
            further; no hidden unit is dropped.
        """
        net = self.net.frozen(t)
        with seeded(0):  # these parameters are replaced
            own = InnerProduct(net.shape, net.width, net.depth)
        own.net = net
        own.to(self.mean)
        own.mean.copy_(self.mean)
        own.reach.copy_(self.reach)
        return own
