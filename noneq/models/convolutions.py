"""Convolutional networks ``f: (B, C, H, W) -> (B,)`` to be used as energies of images.

The last layer is zero at first, so that ``noneq.Tilted(base, net)``, the energy
``U_base(x) + f(x)``, equals that of the base before training. All networks are smooth (SiLU).
There is no batch normalisation: the energy of one image must not depend on the others.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noneq.models.networks import FREQUENCIES, time_features, zeroed

__all__ = ["ConvNet", "ResNet", "TimedResNet"]


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
        self.out = zeroed(nn.Linear(width * height * breadth, 1))

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

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        before, first, between, second = self.body
        inner = first(before(x)) if shift is None else first(before(x)) + shift
        out: Tensor = x + second(between(inner))
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
        self.shape, self.width, self.stages, self.blocks = tuple(shape), width, stages, blocks
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, 1, 1)]
        layers += [_Block(width) for _ in range(blocks)]
        for _ in range(stages):
            layers += [nn.SiLU(), nn.Conv2d(width, width, 4, 2, 1)]
            layers += [_Block(width) for _ in range(blocks)]
        self.net = nn.Sequential(*layers, nn.SiLU())
        self.out = zeroed(nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs f(x) (B,), one number for each image of x (B, *shape)."""
        out: Tensor = self.out(self.net(x).mean((2, 3)))
        return out.squeeze(-1)

    def timed(self, *, gain: float = 1.0, dropout: float = 0.0) -> TimedResNet:
        """Make an untrained network of the same size that also depends on the time.

        Arguments:
            gain: factor that multiplies torch's default initial weights of the first layer.
            dropout: probability with which channels are dropped in score matching.

        Returns:
            The network f(x, t), on the CPU.
        """
        own = {"stages": self.stages, "blocks": self.blocks}
        return TimedResNet(self.shape, self.width, **own, gain=gain, dropout=dropout)


class TimedResNet(nn.Module):
    """Map images x and times t in [0, 1] to numbers by a `ResNet` that is shifted with the time.

    At each time it is a `ResNet` of its own, with other biases: to the outputs of the first layer,
    of each layer that halves the resolution, and of the first layer of each block, it adds
    ``A_l phi(t)``, a number for each channel, with phi(t) the numbers t, ``sin(k pi t)`` and
    ``cos(k pi t)``, k = 1, ..., 4. It returns 0 before training, and is made for the energy
    U(x, t) of a `noneq.models.interpolants.TimedEnergy`, which learns by score matching.

    Arguments:
        shape: shape of one image, ``(channels, height, width)``.
        width: number of channels of all hidden layers.
        stages: number of times that the resolution is halved.
        blocks: number of residual blocks at each resolution.
        gain: factor that multiplies torch's default initial weights of the first layer.
        dropout: probability, 0 or more and below 1, with which a channel of the last features is
            set to 0 in a call with a generator ``rng``, as in score matching.

    Raises:
        ValueError: ``dropout`` is not in its range, or ``shape`` is not that of a `ResNet`.

    >>> import torch
    >>> net, x = TimedResNet((3, 8, 8), 4, stages=1), torch.randn(5, 3, 8, 8)
    >>> torch.nn.init.normal_(net.net.out.weight) is None
    False
    >>> t = torch.full((5,), 0.3)
    >>> bool(torch.allclose(net.frozen(0.3)(x), net(x, t), atol=1e-5))
    True
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 64,
        *,
        stages: int = 2,
        blocks: int = 2,
        gain: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` is a probability, 0 or more and below 1, got {dropout}")
        self.net = ResNet(shape, width, stages=stages, blocks=blocks)
        self.dropout = dropout
        size = 1 + 2 * FREQUENCIES
        self.times = nn.ModuleList(nn.Linear(size, width, bias=False) for _ in _shifted(self.net))
        with torch.no_grad():
            next(self.net.parameters()).mul_(gain)

    def forward(self, x: Tensor, t: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Compute the outputs f(x, t) (B,) for images x at times t.

        Arguments:
            x: images (B, *shape).
            t: times (B,) in [0, 1], one for each image.
            rng: source of randomness that chooses the channels to drop, and the others are divided
                by ``1 - dropout``; None: none is dropped.

        Returns:
            The numbers f(x, t) (B,).
        """
        phi = time_features(t)
        shifts = iter([own(phi)[:, :, None, None] for own in self.times])
        for layer in self.net.net:
            if isinstance(layer, _Block):
                x = layer(x, next(shifts))
            elif isinstance(layer, nn.Conv2d):
                x = layer(x) + next(shifts)
            else:
                x = layer(x)
        features = x.mean((2, 3))
        if rng is not None and self.dropout:
            draws = torch.rand(features.shape, generator=rng, dtype=x.dtype, device=x.device)
            features = features * (draws >= self.dropout) / (1 - self.dropout)
        out: Tensor = self.net.out(features)
        return out.squeeze(-1)

    @torch.no_grad()
    def frozen(self, t: float) -> ResNet:
        """Make a `ResNet` that equals this network at a fixed time t.

        Arguments:
            t: time in [0, 1].

        Returns:
            The network ``(B, *shape) -> (B,)``, which has its own parameters and may be trained
            further; no channel is dropped.
        """
        net = copy.deepcopy(self.net)
        phi = time_features(net.out.weight.new_tensor([t]))[0]
        for layer, own in zip(_shifted(net), self.times, strict=True):
            assert layer.bias is not None
            layer.bias.add_(own(phi))
        return net


def _shifted(net: ResNet) -> list[nn.Conv2d]:
    """List the layers whose outputs are shifted with the time, in their order."""
    found = [layer.body[1] if isinstance(layer, _Block) else layer for layer in net.net]
    return [layer for layer in found if isinstance(layer, nn.Conv2d)]


def _image(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(f"images have shape (channels, height, width), got {tuple(shape)}")
    channels, height, breadth = shape
    return channels, height, breadth
