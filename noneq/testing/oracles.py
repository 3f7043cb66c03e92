r"""Small targets of which everything is known, none symmetric: of each space, and with a drift."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from noneq.energies import (
    Boxed,
    Categorical,
    Gaussian,
    GaussianMixture,
    GeometricPath,
    Identity,
    Path,
    Solvable,
    Uniform,
    path_to,
)
from noneq.models import BernoulliRBM
from noneq.models.interpolants import Linear, MixturePath
from noneq.spaces import ONE_HOT, Space, space_of

__all__ = ["Oracle", "features", "oracles"]


class Oracle(NamedTuple):
    """A path from a solvable start to a model whose sums are known.

    Attributes:
        path: from beta = 0 to the model at beta = 1.
        start: the path's.
        states: all states of the model (S, *shape), or a grid.
        log_cell: log of the measure of each.
    """

    path: Path
    start: Solvable
    states: Tensor
    log_cell: float

    @property
    def space(self) -> Space:
        """Where the walkers are."""
        return space_of(self.path.at(1.0))

    def log_z_and_means(self) -> tuple[float, Tensor]:
        """Of the model: log Z and the means of `features`, float64."""
        log_p = -self.path.at(1.0)(self.states).detach().double()
        means = torch.tensordot(log_p.softmax(0), features(self.states), 1)
        return float(log_p.logsumexp(0)) + self.log_cell, means


def features(x: Tensor) -> Tensor:
    """Coordinates, their squares and the products of neighbours, float64."""
    x = x.flatten(1).double()
    return torch.cat([x, x.square(), x * x.roll(1, 1)], 1)


def oracles(dtype: torch.dtype) -> Iterator[Oracle]:
    """One of each space, and one whose path has a drift."""
    start = Gaussian(torch.tensor([-0.3, 0.6], dtype=dtype), Identity(1.5))
    yield Oracle(GeometricPath(start, _bent), start, *_grid([-7.0, -6.0], [7.0, 8.0]))
    masses = torch.tensor([0.6, 0.4], dtype=dtype)
    middles = torch.tensor([[1.2, 0.4], [-0.9, -0.5]], dtype=dtype)
    modes = torch.tensor([[[0.5, 0.2], [0.2, 0.6]], [[0.7, -0.1], [-0.1, 0.4]]], dtype=dtype)
    mixture = GaussianMixture(middles, modes, masses)
    way = MixturePath(Linear(), start, mixture)
    yield Oracle(way, way.start, *_grid([-7.0, -6.0], [7.0, 8.0]))
    low, high = torch.tensor([-1.0, 0.2], dtype=dtype), torch.tensor([1.4, 1.7], dtype=dtype)
    box = Uniform(low, high)
    inside = Boxed(_bent, low, high)
    yield Oracle(GeometricPath(box, inside), box, *_grid(low.tolist(), high.tolist()))
    numbers = torch.sin(1.0 + 2.3 * torch.arange(19, dtype=dtype))
    machine = BernoulliRBM(2 * numbers[:12].view(4, 3), numbers[12:16] / 2, numbers[16:])
    bits = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=dtype)
    yield Oracle(path_to(machine, machine.base), machine.base, bits, 0.0)
    places = torch.tensor(list(itertools.product(range(3), repeat=2)))
    sites = Categorical(numbers[:6].view(2, 3) / 2)
    path = GeometricPath(sites, _Pair(numbers[6:15].view(3, 3)))
    yield Oracle(path, sites, nn.functional.one_hot(places, 3).to(dtype), 0.0)


def _bent(x: Tensor) -> Tensor:
    """A skewed banana whose gradient grows like x at most."""
    ridge = (1 + x[:, 0].square()).sqrt()
    bent = (x[:, 1] - 0.8 * ridge).square() / (2 * 0.7**2)
    return (x[:, 0] - 0.5).square() / 2 + nn.functional.softplus(2 * x[:, 0]) + bent


class _Pair:
    """Two coupled sites of three states; not linear in x."""

    space = ONE_HOT

    def __init__(self, couplings: Tensor) -> None:
        self.couplings = couplings

    def __call__(self, x: Tensor) -> Tensor:
        pair = ((x[:, 0] @ self.couplings.to(x)) * x[:, 1]).sum(1)
        return pair.exp() / 2 - x[:, 0, 1] + 0.5 * x[:, 1, 2]


def _grid(low: list[float], high: list[float], points: int = 400) -> tuple[Tensor, float]:
    """The middles of equal cells between two corners, and the log of a cell's area."""
    middles = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    axes = [a + (b - a) * middles for a, b in zip(low, high, strict=True)]
    area = math.prod((b - a) / points for a, b in zip(low, high, strict=True))
    return torch.cartesian_prod(*axes), math.log(area)
