r"""Exact sums over ``exp(-U)``: quadrature on a grid, and enumeration of all discrete states.

>>> import torch
>>> from noneq.testing import Grid
>>> grid = Grid.of(lambda x: (x[:, 0] - 1).square() / 2, 1)
>>> round(grid.log_z, 6), round(float(grid.mean(grid.x)), 6)  # log sqrt(2 pi), and 1
(0.918939, 1.0)
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from noneq.energies import Energy

__all__ = ["Grid", "all_bits", "all_one_hot", "cells"]


@dataclass(frozen=True)
class Grid:
    """Hold a density on a finite set of points: all states of a model, or a grid for quadrature.

    From the points follow exact means, samples and log Z of models that are small enough.

    Attributes:
        x: the S points, each of shape ``shape``: states, or centres of grid cells; (S, *shape).
        p: probabilities of the points (S,), float64, proportional to ``exp(-U(x))``.
        log_z: logarithm of the sum of ``exp(-U)`` over all states, or of its integral.
    """

    x: Tensor
    p: Tensor
    log_z: float

    @classmethod
    def of(cls, energy: Energy, dim: int) -> Grid:
        """Integrate ``exp(-U)`` over R or R^2, on a regular grid.

        The grid has 8,001 points in [-20, 20] if ``dim`` is 1, and 501^2 points in [-8, 9]^2 if it
        is 2.

        Arguments:
            energy: energy U whose density is negligible outside the grid and smooth on the scale
                of its spacing.
            dim: dimension of x, 1 or 2.

        Returns:
            The grid: its points (S, dim), their probabilities (S,), and log Z, in float64.
        """
        axis = torch.linspace(-20, 20, 8001, dtype=torch.float64)
        x = axis[:, None]
        if dim == 2:
            axis = torch.linspace(-8, 9, 501, dtype=torch.float64)
            x = torch.cartesian_prod(axis, axis)
        log_p = -energy(x) + dim * math.log(float(axis[1] - axis[0]))
        return cls(x, log_p.softmax(0), float(log_p.logsumexp(0)))

    @classmethod
    def over(cls, energy: Energy, x: Tensor, log_cell: float = 0.0) -> Grid:
        """Sum ``exp(-U)`` over all states of a model, or over grid cells of equal volume.

        Arguments:
            energy: energy U of the states.
            x: all states (S, *shape), e.g. from `all_bits`; or the centres of the cells.
            log_cell: logarithm of the volume of a cell; 0 for states.

        Returns:
            A grid of the points ``x``, with their probabilities (S,) in float64, and log Z.
        """
        log_p = -energy(x).detach().double()
        return cls(x, log_p.softmax(0), float(log_p.logsumexp(0)) + log_cell)

    def mean(self, f: Tensor) -> Tensor:
        """Compute the mean of a function f under the density.

        Arguments:
            f: values (S, ...) of the function at the points ``x``.

        Returns:
            The mean ``sum_i p_i f_i``, float64, of the shape of one value.
        """
        mean: Tensor = torch.tensordot(self.p, f.to(self.p), 1)
        return mean

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw samples of a density on R or R^2, for a grid made by `of`.

        A cell of the grid is drawn by its probability, and a point uniformly inside the cell.

        Arguments:
            n: number of samples.
            rng: source of randomness.

        Returns:
            The samples (n, d), float64, with d = 1 or 2.
        """
        i = torch.searchsorted(self.p.cumsum(0), torch.rand(n, generator=rng, dtype=self.p.dtype))
        cell = (self.x.max() - self.x.min()) / (round(len(self.x) ** (1 / self.x.shape[1])) - 1)
        jitter = torch.rand(n, self.x.shape[1], generator=rng, dtype=self.p.dtype) - 0.5
        x: Tensor = self.x[i.clamp(max=len(self.x) - 1)] + jitter * cell
        return x

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw independent samples from the points of the grid, each with its probability.

        Arguments:
            n: number of samples.
            rng: source of randomness.

        Returns:
            The samples (n, *shape).
        """
        x: Tensor = self.x[torch.multinomial(self.p, n, replacement=True, generator=rng)]
        return x


def all_bits(n: int) -> Tensor:
    """List all 2^n states of n bits, in the order in which the last bit changes fastest.

    Arguments:
        n: number of bits.

    Returns:
        A tensor (2^n, n) of 0 and 1, float64.

    >>> all_bits(2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)), dtype=torch.float64)


def all_one_hot(sites: int, q: int) -> Tensor:
    """List all joint states of several sites with q states each, in one-hot encoding.

    The state of the last site changes fastest.

    Arguments:
        sites: number of sites.
        q: number of states of one site.

    Returns:
        A tensor (q^sites, sites, q) of 0 and 1, float64.

    >>> all_one_hot(1, 3).tolist()
    [[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]]
    """
    places = torch.tensor(list(itertools.product(range(q), repeat=sites)))
    return nn.functional.one_hot(places, q).double()


def cells(low: list[float], high: list[float], points: int = 400) -> tuple[Tensor, float]:
    """Cut a box into equal cells.

    Arguments:
        low: lower corner of the box, d numbers.
        high: upper corner of the box, d numbers.
        points: number of cells along each axis.

    Returns:
        The centres of the cells (points^d, d), float64, and the logarithm of a cell's volume.

    >>> cells([0.0, 0.0], [2.0, 4.0], points=2)[0].tolist()
    [[0.5, 1.0], [0.5, 3.0], [1.5, 1.0], [1.5, 3.0]]
    """
    centres = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    axes = [a + (b - a) * centres for a, b in zip(low, high, strict=True)]
    volume = math.prod((b - a) / points for a, b in zip(low, high, strict=True))
    return torch.cartesian_prod(*axes).view(-1, len(axes)), math.log(volume)
