"""A network f(x, t) for a `TimedEnergy` that is made of a network with vectors as outputs.

A score has d numbers where an energy has one, and the last layer of a network for an energy is
narrow: a single unit. Here a network N returns a vector, as one that denoises does, and the energy
is an inner product with it, so that N is a part of its gradient. Compare Salimans and Ho 2021,
"Should EBMs model the energy or the score?", whose energy is ``|x - D(x, t)|^2 / 2 s^2`` for a
denoiser D. What else was tried is in docs/lab/interpolants.md.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from noneq.energies import Gaussian
from noneq.models.networks import TimedMLP

__all__ = ["TimedInnerProduct"]

REACH = 10.0  # squared distance, in mean ones of the data, from which on N's input is bounded


class TimedInnerProduct(nn.Module):
    """Map rows x and times t to numbers f(x, t) by an inner product with a network's vectors.

    With the mean m and the covariance C of the data, and a fully connected network N,

        ``f(x, t) = <x - m, N(c, t)>``,  ``c = m + (x - m) / sqrt(1 + |x - m|^2 / (10 tr C))``,

    so that ``grad f = N + ...``: what a network of vectors knows of a score, the energy knows. The
    input c is x, 5 % nearer to m, for typical rows, and bounded far away. Then f grows as the
    distance from m, and the Gaussian in ``U = U_G + beta(t) f(x, t)`` (`TimedEnergy`) confines the
    model; with x itself as input f grows as its square, and ``exp(-U)`` may have no integral. N
    and f are 0 before training.

    On digits, after score matching of equal length, rows that were held out had 9.0 nats, and 10.6
    with a `noneq.models.TimedMLP` of the same width (docs/lab/interpolants.md). Without dropout it
    overfits. Maximum likelihood from there diverged at the steps that suit a `TimedMLP`.

    Arguments:
        base: Gaussian with the mean and covariance of the noisy data, that of the `TimedEnergy`.
        width: number of hidden units in each layer of N.
        depth: number of hidden layers of N.
        gain: factor that multiplies torch's default initial weights from x to the first layer.
        dropout: probability with which hidden units are dropped in `TimedEnergy.score_loss`, and
            only there.

    Raises:
        ValueError: ``dropout`` is not in its range.

    >>> import noneq, torch
    >>> from noneq.models.interpolants import TimedEnergy, TimedInnerProduct
    >>> rows, rng = torch.randn(100, 3), torch.Generator().manual_seed(0)
    >>> base = noneq.Gaussian.fit(rows, noise=0.1)
    >>> energy = TimedEnergy(base, TimedInnerProduct(base, width=32), 0.1)
    >>> energy(rows).shape, energy.score_loss(rows, rng).shape
    (torch.Size([100]), torch.Size([]))
    >>> model = noneq.Tilted(base, energy.net.frozen(1.0))  # of x alone
    """

    mean: Tensor
    reach: Tensor

    def __init__(
        self,
        base: Gaussian,
        width: int = 256,
        depth: int = 2,
        *,
        gain: float = 3.0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        mean = base.mean.detach().clone()
        self.net = TimedMLP(mean.shape, width, depth, field=True, gain=gain, dropout=dropout)
        self.net.to(mean)
        self.register_buffer("mean", mean)
        self.register_buffer("reach", REACH * base.covariance().trace().to(mean))

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
        y = (x - self.mean).flatten(1)
        near = y / (1 + y.square().sum(1, keepdim=True) / self.reach).sqrt()
        n: Tensor = self.net(near.view_as(x) + self.mean, t, rng)
        return (y * n.flatten(1)).sum(1)

    def frozen(self, t: float) -> nn.Module:
        """Make a network of x alone that equals this one at a fixed time t.

        Arguments:
            t: time in [0, 1].

        Returns:
            The network ``(B, *shape) -> (B,)``, which has its own parameters and may be trained
            further; no hidden unit is dropped.
        """
        return _AtTime(copy.deepcopy(self), t)


class _AtTime(nn.Module):
    """A network of x and t at one time."""

    def __init__(self, net: nn.Module, t: float) -> None:
        super().__init__()
        self.net, self.t = net, t

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x, x.new_full((len(x),), self.t))
        return out
