"""Networks made of networks: averages, networks of whitened rows, and of rows with a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from noneq.energies import Foreground
from noneq.models.convolutions import ConvNet, ResNet
from noneq.models.inner import InnerProduct
from noneq.models.networks import MLP

__all__ = ["Averaged", "PerLabel", "Whitened", "linear_output", "scale_outputs", "single_networks"]


class Averaged(nn.Module):
    """Map each row to the mean of the outputs of several networks, an average of energies.

    The density ``exp(-mean_j U_j) / Z`` is the geometric mean of those of the networks. Networks
    that were trained from different initial parameters err in different ways: the average
    generalises better than any of them.

    Arguments:
        nets: networks ``(B, *shape) -> (B,)``, or of rows and times.

    Raises:
        ValueError: there is no network.

    >>> import torch
    >>> x = torch.randn(5, 2)
    >>> nets = [nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)) for _ in range(2)]
    >>> bool(torch.allclose(Averaged(nets)(x), (nets[0](x) + nets[1](x)) / 2))
    True
    """

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        if not nets:
            raise ValueError("an average needs one network or more")
        self.nets = nn.ModuleList(nets)

    def forward(self, x: Tensor, *t: Tensor) -> Tensor:
        """Return the mean of the networks' outputs for rows x, at times t if they take them."""
        return torch.stack([net(x, *t) for net in self.nets]).mean(0)


class Whitened(nn.Module):
    """Map rows to ``f(W (x - m))``, where the rows ``W (x - m)`` have covariance I.

    Where columns are nearly collinear, a network that sees the columns themselves learns slowly
    what happens along the directions in which the rows hardly vary.

    Arguments:
        net: network f, ``(B, *shape) -> (B,)``, or of rows and times.
        mean: mean m of the rows (*shape).
        whiten: transposed matrix W^T (d, d).

    >>> import torch
    >>> rows = torch.randn(1000, 2) @ torch.tensor([[1.0, 0.99], [0.0, 0.1]])
    >>> net = Whitened.of(nn.Flatten(), rows.mean(0), torch.cov(rows.T))
    >>> bool(torch.allclose(torch.cov(net(rows).T), torch.eye(2), atol=1e-3))
    True
    """

    mean: Tensor
    whiten: Tensor

    def __init__(self, net: nn.Module, mean: Tensor, whiten: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", mean)
        self.register_buffer("whiten", whiten)

    @classmethod
    def of(cls, net: nn.Module, mean: Tensor, covariance: Tensor) -> Whitened:
        """Return the network after the map that gives rows of some covariance the covariance I.

        Arguments:
            net: network f, ``(B, *shape) -> (B,)``, or of rows and times.
            mean: mean m of the rows (*shape).
            covariance: covariance ``Q diag(v) Q^T`` of the rows (d, d); ``W = diag(v)^-1/2 Q^T``.

        Returns:
            The whole, whose buffers are copies.
        """
        v, q = torch.linalg.eigh(covariance.double())
        whiten = (q / v.clamp(min=v[-1] * 1e-12).sqrt()).to(mean)
        return cls(net, mean.detach().clone(), whiten)

    def forward(self, x: Tensor, *rest: Tensor | torch.Generator | None) -> Tensor:
        """Return the network's outputs for rows x, at times and with dropout if it takes them."""
        z = ((x - self.mean).flatten(1) @ self.whiten).view_as(x)
        out: Tensor = self.net(z, *rest)
        return out

    @property
    def dropout(self) -> float:
        """The probability with which the network drops hidden units in score matching."""
        return float(getattr(self.net, "dropout", 0.0))

    def around(self, net: nn.Module) -> Whitened:
        """Return the same map of the rows, followed by another network; it shares the buffers."""
        return Whitened(net, self.mean, self.whiten)


class PerLabel(nn.Module):
    """Map a row x and its context c to ``sum_k c_k f_k(x)``, with a network of k outputs.

    For one-hot labels it is the output that belongs to the label, as in a classifier (Grathwohl
    and others 2020, arXiv 1912.03263); all labels share the layers before it.

    Arguments:
        net: network ``(B, *shape) -> (B, k)``; with a last layer of zeros it returns 0 before
            training (`noneq.models.zeroed`).
        labels: number k of labels, or of numbers of the context.
        shape: shape in which the network takes a row, e.g. ``(1, 8, 8)``; default: a vector.

    >>> import torch
    >>> f = PerLabel(nn.Linear(2, 3), 3)
    >>> x = torch.tensor([[0.5, -1.0, 0.0, 1.0, 0.0]])  # x, and the second of three labels
    >>> bool(f(x) == f.net(x[:, :2])[:, 1])
    True
    """

    def __init__(self, net: nn.Module, labels: int, shape: Sequence[int] | None = None) -> None:
        super().__init__()
        self.net, self.labels = net, labels
        self.shape = None if shape is None else tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return the numbers (B,) for rows (x, c), shape (B, d + k)."""
        row, c = x[:, : -self.labels], x[:, -self.labels :]
        out: Tensor = self.net(row if self.shape is None else row.reshape(-1, *self.shape))
        return (out * c).sum(1)


def single_networks(net: nn.Module) -> list[Any]:
    """List the networks that a network is made of, without averages and maps around them.

    Arguments:
        net: any network.

    Returns:
        The networks of an `Averaged`, or within a `Whitened`, a `PerLabel` or a
        `noneq.energies.Foreground`; the network itself if it is none of these.
    """
    if isinstance(net, Whitened | PerLabel | Foreground):
        return single_networks(net.net)
    if isinstance(net, Averaged):
        return [one for own in net.nets for one in single_networks(own)]
    return [net]


def linear_output(net: nn.Module) -> bool:
    """Return whether the last layer of a network is known and linear.

    Arguments:
        net: any network.

    Returns:
        True for the networks of `noneq.models` with an energy as output, and averages of them.
    """
    return all(
        isinstance(own, MLP | InnerProduct | ConvNet | ResNet) for own in single_networks(net)
    )


@torch.no_grad()
def scale_outputs(net: nn.Module, factor: float) -> None:
    """Multiply what a network returns by a factor, in place: its last layer is linear.

    Arguments:
        net: network of `noneq.models` with an energy as output, also an average of several.
        factor: the factor.

    Returns:
        Nothing.

    Raises:
        TypeError: it is no network of `noneq.models`, whose last layer is not known.

    >>> import torch
    >>> from noneq.models import MLP
    >>> net, x = MLP(2, width=8), torch.randn(5, 2)
    >>> torch.nn.init.normal_(net.net[-1].weight) is None
    False
    >>> before = net(x)
    >>> scale_outputs(net, 0.5)
    >>> bool(torch.allclose(net(x), before / 2))
    True
    """
    if not linear_output(net):
        raise TypeError(f"the last layer of a {type(net).__name__} is not known")
    for own in single_networks(net):
        *_, last = (layer for layer in own.modules() if isinstance(layer, nn.Linear))
        for p in last.parameters():
            p.mul_(factor)
