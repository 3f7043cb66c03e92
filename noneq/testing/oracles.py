r"""Small asymmetric models on which kernels are tested, with exact log Z and means.

There is one model on each kind of space, and one on a path with a drift, i.e. a velocity field
that moves samples along the path.
"""

from __future__ import annotations

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
from noneq.spaces import Space, space_of
from noneq.testing.discrete import Potts
from noneq.testing.exact import all_bits, all_one_hot, cells

__all__ = ["Oracle", "features", "oracles"]


class Oracle(NamedTuple):
    """Hold a small model, and a path of energies that ends at this model.

    The exact log Z and means of the model are sums over ``states``.

    Attributes:
        path: path of energies from ``start`` at beta = 0 to the model at beta = 1.
        start: energy with exact samples and log Z, at which the path starts.
        states: all S states of the model, or the points of a grid; (S, *shape), where ``shape`` is
            the shape of one state.
        log_cell: logarithm of the volume of a grid cell; 0 for states.
    """

    path: Path
    start: Solvable
    states: Tensor
    log_cell: float

    @property
    def space(self) -> Space:
        """Return the space that the model's states lie in, e.g. real vectors or bits."""
        return space_of(self.path.at(1.0))

    def log_z_and_means(self) -> tuple[float, Tensor]:
        """Compute the exact log Z of the model, and the exact means of `features` of its states.

        Returns:
            log Z, and the means (3 d,) in float64, d the number of coordinates of a state.
        """
        log_p = -self.path.at(1.0)(self.states).detach().double()
        means = torch.tensordot(log_p.softmax(0), features(self.states), 1)
        return float(log_p.logsumexp(0)) + self.log_cell, means


def features(x: Tensor) -> Tensor:
    """Compute functions of states whose means are tested: x_i, x_i^2 and x_i x_{i-1} (cyclic).

    Arguments:
        x: B states, each with d coordinates x_i after flattening; (B, *shape).

    Returns:
        A tensor (B, 3 d), float64: coordinates, their squares, and products of neighbours.
    """
    x = x.flatten(1).double()
    return torch.cat([x, x.square(), x * x.roll(1, 1)], 1)


def oracles(dtype: torch.dtype) -> tuple[Oracle, ...]:
    """Make five small models with known log Z and means, to test kernels on.

    There is one model for each kind of space, and one on a path with a drift. All are on the CPU.

    Arguments:
        dtype: dtype of the models' parameters.

    Returns:
        Models on R^2, on R^2 along a path with a drift, in a box, of bits, and of one-hot sites.
    """
    with torch.device("cpu"):
        return _plane(dtype), _drifted(dtype), _box(dtype), _bits(dtype), _sites(dtype)


def _start(dtype: torch.dtype) -> Gaussian:
    return Gaussian(torch.tensor([-0.3, 0.6], dtype=dtype), Identity(1.5))


def _plane(dtype: torch.dtype) -> Oracle:
    start = _start(dtype)
    return Oracle(GeometricPath(start, _bent), start, *cells([-7.0, -6.0], [7.0, 8.0]))


def _drifted(dtype: torch.dtype) -> Oracle:
    masses = torch.tensor([0.6, 0.4], dtype=dtype)
    middles = torch.tensor([[1.2, 0.4], [-0.9, -0.5]], dtype=dtype)
    modes = torch.tensor([[[0.5, 0.2], [0.2, 0.6]], [[0.7, -0.1], [-0.1, 0.4]]], dtype=dtype)
    way = MixturePath(Linear(), _start(dtype), GaussianMixture(middles, modes, masses))
    return Oracle(way, way.start, *cells([-7.0, -6.0], [7.0, 8.0]))


def _box(dtype: torch.dtype) -> Oracle:
    low, high = torch.tensor([-1.0, 0.2], dtype=dtype), torch.tensor([1.4, 1.7], dtype=dtype)
    start, inside = Uniform(low, high), Boxed(_bent, low, high)
    return Oracle(GeometricPath(start, inside), start, *cells(low.tolist(), high.tolist()))


def _numbers(dtype: torch.dtype) -> Tensor:
    return torch.sin(1.0 + 2.3 * torch.arange(19, dtype=dtype))


def _bits(dtype: torch.dtype) -> Oracle:
    numbers = _numbers(dtype)
    rbm = BernoulliRBM(2 * numbers[:12].view(4, 3), numbers[12:16] / 2, numbers[16:])
    return Oracle(path_to(rbm, rbm.base), rbm.base, all_bits(4).to(dtype), 0.0)


def _sites(dtype: torch.dtype) -> Oracle:
    numbers = _numbers(dtype)
    start = Categorical(numbers[:6].view(2, 3) / 2)
    fields = torch.tensor([[0.0, -1.0, 0.0], [0.0, 0.0, 0.5]], dtype=dtype)
    path = GeometricPath(start, Potts(fields, numbers[6:15].view(3, 3)))
    return Oracle(path, start, all_one_hot(2, 3).to(dtype), 0.0)


def _bent(x: Tensor) -> Tensor:
    """Compute a skewed banana energy whose gradient grows at most as x."""
    ridge = (1 + x[:, 0].square()).sqrt()
    bent = (x[:, 1] - 0.8 * ridge).square() / (2 * 0.7**2)
    return (x[:, 0] - 0.5).square() / 2 + nn.functional.softplus(2 * x[:, 0]) + bent
