"""Networks ``f: (B, *shape) -> (B,)`` whose last layer starts at zero.

So ``Tilted(base, net)`` is the base itself before the first update. All are smooth (SiLU):
Langevin kernels follow the gradient, and a kinked energy costs acceptance. None normalises over
the batch: the energy of a row must not depend on the other rows.
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
    """A fully connected network on flattened input.

    Arguments:
        shape: the shape of one row, e.g. ``64`` or ``(1, 8, 8)``.
        width: hidden units of a layer.
        depth: hidden layers.
        gain: of the first layer over torch's default. At 1 the first features are nearly linear
            on standardised data, and a base that matches mean and covariance has already
            learned all that linear features can tell.
    """

    def __init__(
        self, shape: int | Sequence[int], width: int = 256, depth: int = 2, *, gain: float = 3.0
    ) -> None:
        super().__init__()
        dim = shape if isinstance(shape, int) else math.prod(shape)
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(dim, width), nn.SiLU()]
            dim = width
        self.net = nn.Sequential(*layers, _zero(nn.Linear(dim, 1)))
        with torch.no_grad():
            next(self.net.parameters()).mul_(gain)

    def forward(self, x: Tensor) -> Tensor:
        """Scalars (B,)."""
        out: Tensor = self.net(x.flatten(1))
        return out.squeeze(-1)


class TimedMLP(nn.Module):
    """A fully connected network of a row and a time in [0, 1], for fields and energies on the way.

    Time enters the first layer as itself and as ``sin`` and ``cos`` of the first multiples of
    pi t. The last layer starts at zero.

    Arguments:
        shape: the shape of one row.
        width: hidden units of a layer.
        depth: hidden layers.
        field: return a vector at every row, ``(B, *shape)``, for velocities and denoisers;
            else one number (B,), for energies.
        gain: as of `MLP`.
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
    ) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.field = field
        dim = math.prod(self.shape)
        size, layers = dim + 1 + 2 * self.FREQUENCIES, []
        for _ in range(depth):
            layers += [nn.Linear(size, width), nn.SiLU()]
            size = width
        self.net = nn.Sequential(*layers, _zero(nn.Linear(size, dim if field else 1)))
        with torch.no_grad():
            next(self.net.parameters())[:, :dim].mul_(gain)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """A field (B, *shape) or scalars (B,) at rows x and times t (B,)."""
        out: Tensor = self.net(torch.cat([x.flatten(1), self._features(t)], 1))
        return out.view(len(x), *self.shape) if self.field else out.squeeze(-1)

    def _features(self, t: Tensor) -> Tensor:
        waves = t[:, None] * torch.arange(1, self.FREQUENCIES + 1, device=t.device) * torch.pi
        return torch.cat([t[:, None], waves.sin(), waves.cos()], 1)

    @torch.no_grad()
    def frozen(self, t: float) -> MLP:
        """The `MLP` that it is at a time t, with parameters of its own: to be trained further.

        What time adds to the first layer is a part of its bias.

        Raises ValueError for a field, which has no energy.
        """
        if self.field:
            raise ValueError("a field returns vectors: only a network of field=False is an energy")
        linear = [layer for layer in self.net if isinstance(layer, nn.Linear)]
        first, width, dim = linear[0], linear[0].out_features, math.prod(self.shape)
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # draws are overwritten
            mlp = MLP(self.shape, width, len(linear) - 1).to(first.weight)
        mlp.load_state_dict(self.state_dict() | {"net.0.weight": first.weight[:, :dim]})
        time = self._features(first.weight.new_tensor([t]))[0]
        own = next(layer for layer in mlp.net if isinstance(layer, nn.Linear))
        own.bias.add_(first.weight[:, dim:] @ time)
        return mlp


class ConvNet(nn.Module):
    """Strided convolutions for images: each layer halves the resolution; a linear read-out.

    Arguments:
        shape: ``(channels, height, width)`` of one image.
        width: channels after the first layer, doubled at each further one.
        depth: strided layers after the first.
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
        """Scalars (B,)."""
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
    """Residual blocks for images, the resolution halved between stages, then a mean over pixels.

    Arguments:
        shape: ``(channels, height, width)`` of one image.
        width: channels.
        stages: how often the resolution is halved.
        blocks: residual blocks in each stage.
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
        """Scalars (B,)."""
        out: Tensor = self.out(self.net(x).mean((2, 3)))
        return out.squeeze(-1)


def _image(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(f"images have shape (channels, height, width), got {tuple(shape)}")
    channels, height, breadth = shape
    return channels, height, breadth
