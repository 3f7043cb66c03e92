"""Perceptrons ``f: (B, *shape) -> (B,)`` to be used as energies, with a last layer of zeros.

So ``noneq.Tilted(base, net)``, the energy ``U_base(x) + f(x)``, equals that of the base before
training. All networks are smooth (SiLU), since Langevin kernels follow the gradient, and kinks
lower their acceptance. Networks of images are in `noneq.models.convolutions`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["FREQUENCIES", "MLP", "TimedMLP", "time_features", "zeroed"]

FREQUENCIES = 4
"""Number of waves of time that a network sees."""


def zeroed(layer: nn.Linear) -> nn.Linear:
    """Set weights and biases of a layer to zero.

    Returns:
        The layer.
    """
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def time_features(t: Tensor) -> Tensor:
    """Compute what a network sees of times t: t, ``sin(k pi t)`` and ``cos(k pi t)``, k = 1..4.

    Arguments:
        t: times (B,).

    Returns:
        The numbers (B, 9).
    """
    waves = t[:, None] * torch.arange(1, FREQUENCIES + 1, device=t.device) * torch.pi
    return torch.cat([t[:, None], waves.sin(), waves.cos()], 1)


class MLP(nn.Module):
    """Map each row to one number, or to a vector, by a fully connected network.

    It returns 0 before training.

    Arguments:
        shape: shape of one row, e.g. ``64`` or ``(1, 8, 8)``; rows are flattened.
        width: number of hidden units in each layer.
        depth: number of hidden layers.
        gain: factor that multiplies torch's default initial weights of the first layer. With 1 the
            hidden units are nearly linear in standardised data, and add little to a Gaussian that
            has the mean and covariance of the data.
        field: whether to return a vector for each row, (B, *shape), instead of one number, (B,).
        outputs: number k of numbers for each row, (B, k), e.g. one for each label
            (`noneq.models.PerLabel`); 1: (B,).

    >>> import torch, noneq
    >>> x = torch.randn(5, 2)
    >>> energy = noneq.Tilted(noneq.Gaussian.fit(x), noneq.MLP(2, width=32))
    >>> tuple(energy(x).shape), bool((energy.net(x) == 0).all())
    ((5,), True)
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        width: int = 256,
        depth: int = 2,
        *,
        gain: float = 3.0,
        field: bool = False,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        if field and outputs != 1:
            raise ValueError("a field has as many outputs as a row has numbers: leave outputs out")
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.width, self.depth, self.field = width, depth, field
        dim = size = math.prod(self.shape)
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(size, width), nn.SiLU()]
            size = width
        self.net = nn.Sequential(*layers, zeroed(nn.Linear(size, dim if field else outputs)))
        with torch.no_grad():
            next(self.net.parameters()).mul_(gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for rows x (B, *shape): (B,), (B, k), or vectors (B, *shape)."""
        out: Tensor = self.net(x.flatten(1))
        return out.view(len(x), *self.shape) if self.field else out.squeeze(-1)

    def timed(self, *, gain: float = 3.0, dropout: float = 0.0) -> TimedMLP:
        """Make an untrained network of the same size that also depends on the time.

        Arguments:
            gain: factor that multiplies torch's default initial weights from x to the first layer.
            dropout: probability with which hidden units are dropped in score matching.

        Returns:
            The network f(x, t), on the CPU.
        """
        own = (self.shape, self.width, self.depth)
        return TimedMLP(*own, field=self.field, gain=gain, dropout=dropout)


class TimedMLP(nn.Module):
    """Map rows x and times t in [0, 1] to numbers or vectors by a fully connected network.

    With numbers as outputs it is an energy U(x, t) that depends on time; with vectors it is a
    field, such as the velocity of a stochastic interpolant (`noneq.models.interpolants`). The time
    enters the first layer as t, ``sin(k pi t)`` and ``cos(k pi t)``, k = 1, ..., 4. The last layer
    starts at zero, so that all outputs are 0 before training.

    Arguments:
        shape: shape of one row.
        width: number of hidden units in each layer.
        depth: number of hidden layers.
        field: whether to return a vector for each row, (B, *shape), instead of one number, (B,).
        gain: factor that multiplies torch's default initial weights from x to the first layer.
        dropout: probability, 0 or more and below 1, with which a hidden unit is set to 0 in a call
            with a generator ``rng``, as `noneq.models.interpolants.TimedEnergy.score_loss` makes
            it. Without a generator no unit is dropped, in the training mode neither: an energy is
            the same number whenever it is asked.

    Raises:
        ValueError: ``dropout`` is not in its range.
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        width: int = 256,
        depth: int = 3,
        *,
        field: bool = False,
        gain: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` is a probability, 0 or more and below 1, got {dropout}")
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.field = field
        self.dropout = dropout
        dim = math.prod(self.shape)
        size, layers = dim + 1 + 2 * FREQUENCIES, []
        for _ in range(depth):
            layers += [nn.Linear(size, width), nn.SiLU()]
            size = width
        self.net = nn.Sequential(*layers, zeroed(nn.Linear(size, dim if field else 1)))
        with torch.no_grad():
            next(self.net.parameters())[:, :dim].mul_(gain)

    def forward(self, x: Tensor, t: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Compute the output for rows x at times t: vectors if ``field`` is set, else numbers.

        Arguments:
            x: rows (B, *shape).
            t: times (B,) in [0, 1], one for each row.
            rng: source of randomness that chooses the hidden units to drop, and the others are
                divided by ``1 - dropout``; None: none is dropped.

        Returns:
            The outputs of the network, (B, *shape) or (B,).
        """
        out = torch.cat([x.flatten(1), time_features(t)], 1)
        for layer in self.net:
            out = layer(out)
            if rng is not None and self.dropout and isinstance(layer, nn.SiLU):
                draws = torch.rand(out.shape, generator=rng, dtype=out.dtype, device=out.device)
                out = out * (draws >= self.dropout) / (1 - self.dropout)
        return out.view(len(x), *self.shape) if self.field else out.squeeze(-1)

    @torch.no_grad()
    def frozen(self, t: float) -> MLP:
        """Make an `MLP` of x alone that equals this network at a fixed time t.

        What t contributes to the first layer is then constant, and is added to the bias of that
        layer.

        Arguments:
            t: time in [0, 1].

        Returns:
            The network ``(B, *shape) -> (B,)``, or of vectors, which has its own parameters and
            may be trained further.
        """
        linear = [layer for layer in self.net if isinstance(layer, nn.Linear)]
        first, width, dim = linear[0], linear[0].out_features, math.prod(self.shape)
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # draws are overwritten
            mlp = MLP(self.shape, width, len(linear) - 1, field=self.field).to(first.weight)
        mlp.load_state_dict(self.state_dict() | {"net.0.weight": first.weight[:, :dim]})
        time = time_features(first.weight.new_tensor([t]))[0]
        own = next(layer for layer in mlp.net if isinstance(layer, nn.Linear))
        own.bias.add_(first.weight[:, dim:] @ time)
        return mlp
