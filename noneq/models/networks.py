"""Neural networks ``f: (B, *shape) -> (B,)`` to be used as energies, with a last layer of zeros.

So ``noneq.Tilted(base, net)``, the energy ``U_base(x) + f(x)``, equals that of the base before
training. All networks are smooth (SiLU), since Langevin kernels follow the gradient, and kinks
lower their acceptance. There is no batch normalisation: the energy of one row must not depend on
the other rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["MLP", "ConvNet", "ResNet", "TimedMLP"]


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


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
    ) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.width, self.depth, self.field = width, depth, field
        dim = size = math.prod(self.shape)
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(size, width), nn.SiLU()]
            size = width
        self.net = nn.Sequential(*layers, _zero(nn.Linear(size, dim if field else 1)))
        with torch.no_grad():
            next(self.net.parameters()).mul_(gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for rows x (B, *shape): numbers (B,), or vectors (B, *shape)."""
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

    FREQUENCIES = 4

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
        size, layers = dim + 1 + 2 * self.FREQUENCIES, []
        for _ in range(depth):
            layers += [nn.Linear(size, width), nn.SiLU()]
            size = width
        self.net = nn.Sequential(*layers, _zero(nn.Linear(size, dim if field else 1)))
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
        out = torch.cat([x.flatten(1), self._features(t)], 1)
        for layer in self.net:
            out = layer(out)
            if rng is not None and self.dropout and isinstance(layer, nn.SiLU):
                draws = torch.rand(out.shape, generator=rng, dtype=out.dtype, device=out.device)
                out = out * (draws >= self.dropout) / (1 - self.dropout)
        return out.view(len(x), *self.shape) if self.field else out.squeeze(-1)

    def _features(self, t: Tensor) -> Tensor:
        waves = t[:, None] * torch.arange(1, self.FREQUENCIES + 1, device=t.device) * torch.pi
        return torch.cat([t[:, None], waves.sin(), waves.cos()], 1)

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
        time = self._features(first.weight.new_tensor([t]))[0]
        own = next(layer for layer in mlp.net if isinstance(layer, nn.Linear))
        own.bias.add_(first.weight[:, dim:] @ time)
        return mlp


class ConvNet(nn.Module):
    """Map each image to one number by strided convolutions, each of which halves the resolution.

    A linear layer maps the last features to the number, which is 0 before training.

    Arguments:
        shape: shape of one image, ``(channels, height, width)``.
        width: number of channels after the first layer, doubled at each further layer.
        depth: number of strided layers, which follow a first layer that keeps the resolution.

    Raises:
        ValueError: ``shape`` does not have three entries, or is too small for ``depth`` halvings.
    """

    def __init__(self, shape: Sequence[int], width: int = 32, depth: int = 3) -> None:
        super().__init__()
        channels, height, breadth = _image(shape)
        if min(height, breadth) < 2**depth:
            raise ValueError(f"{depth} halvings are too many for images of shape {tuple(shape)}")
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, 1, 1), nn.SiLU()]
        for _ in range(depth):
            layers += [nn.Conv2d(width, 2 * width, 4, 2, 1), nn.SiLU()]
            width, height, breadth = 2 * width, height // 2, breadth // 2
        self.net = nn.Sequential(*layers, nn.Flatten())
        self.out = _zero(nn.Linear(width * height * breadth, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs f(x) (B,), one number for each image of x (B, *shape)."""
        out: Tensor = self.out(self.net(x))
        return out.squeeze(-1)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(width, width, 3, 1, 1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class ResNet(nn.Module):
    """Map each image to one number by residual blocks of convolutions.

    A linear layer maps the mean over pixels of the last features to the number, which is 0 before
    training.

    Arguments:
        shape: shape of one image, ``(channels, height, width)``.
        width: number of channels of all hidden layers.
        stages: number of times that the resolution is halved.
        blocks: number of residual blocks at each resolution.

    Raises:
        ValueError: ``shape`` does not have three entries, or is too small for ``stages`` halvings.
    """

    def __init__(
        self, shape: Sequence[int], width: int = 64, *, stages: int = 2, blocks: int = 2
    ) -> None:
        super().__init__()
        channels, height, breadth = _image(shape)
        if min(height, breadth) < 2**stages:
            raise ValueError(f"{stages} halvings are too many for images of shape {tuple(shape)}")
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, 1, 1)]
        layers += [_Block(width) for _ in range(blocks)]
        for _ in range(stages):
            layers += [nn.SiLU(), nn.Conv2d(width, width, 4, 2, 1)]
            layers += [_Block(width) for _ in range(blocks)]
        self.net = nn.Sequential(*layers, nn.SiLU())
        self.out = _zero(nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs f(x) (B,), one number for each image of x (B, *shape)."""
        out: Tensor = self.out(self.net(x).mean((2, 3)))
        return out.squeeze(-1)


def _image(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(f"images have shape (channels, height, width), got {tuple(shape)}")
    channels, height, breadth = shape
    return channels, height, breadth
