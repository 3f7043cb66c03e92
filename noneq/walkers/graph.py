"""Energies of walkers that keep their autograd graph to the parameters, for a training loss.

`WithGraph` makes a kernel evaluate an energy with its graph. `without_zero` keeps walkers of
weight zero, whose energies may be infinite, out of the gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noneq.energies import Cache, Energy, evaluate, gradient
from noneq.spaces import space_of
from noneq.walkers.weights import Weights

__all__ = ["WithGraph", "without_zero"]


class WithGraph:
    """Wraps an energy so that each evaluation keeps the autograd graph to the energy's parameters.

    A kernel that moves walkers under the wrapped energy returns energies that can be part of a
    loss.

    Arguments:
        energy: the energy to wrap, usually the model that is trained.
    """

    def __init__(self, energy: Energy) -> None:
        self.energy = self.__wrapped__ = energy
        self.space = space_of(energy)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the energies (N,) at positions x (N, *shape)."""
        return self.energy(x)

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Cache | None = None,
        graph: bool = True,  # noqa: ARG002
    ) -> tuple[Tensor, Cache]:
        """Evaluate the wrapped energy at x, with the autograd graph to its parameters.

        Arguments:
            x: positions (N, *shape).
            previous_cache: cache of an earlier evaluation at the same x, or None.
            graph: not used: the graph is always kept.

        Returns:
            The energies (N,) with their graph, and a cache with the gradient "g" (N, *shape) if
            the energy has one.
        """
        return evaluate(self.energy, x, previous_cache, graph=True)

    def gradient(self, x: Tensor, cache: Cache) -> Tensor | None:
        """Return ``dU/dx`` (N, *shape) of the wrapped energy, as `noneq.energies.gradient` does.

        Arguments:
            x: positions (N, *shape).
            cache: cache of an evaluation at x, whose entry "g" is the gradient.

        Returns:
            The gradient; None if neither the cache nor a method of the energy gives one.
        """
        return gradient(self.energy, x, cache)


def without_zero(energy: Energy, u: Tensor, x: Tensor, weights: Weights) -> Tensor:
    """Take walkers of weight zero or infinite energy out of the autograd graph of their energies.

    The gradient of a product ``0 x inf`` would be NaN. Where there are such walkers, the energies
    of all others are computed again.

    Arguments:
        energy: energy U that was evaluated.
        u: its values U(x) (N,) with their graph.
        x: positions (N, *shape).
        weights: weights of the walkers.

    Returns:
        The same values (N,), with a graph to the parameters through the other walkers only.
    """
    if not weights.summary.zero and not weights.summary.invalid:
        return u
    some = torch.isfinite(u.detach()) & (weights.log_w != -math.inf)
    kept, _ = evaluate(energy, x[some], graph=True, skip_gradient=True)
    return u.detach().masked_scatter(some, kept)
