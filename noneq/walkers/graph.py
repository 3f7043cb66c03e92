"""Energies of walkers that keep their autograd graph to the parameters, for a training loss.

`WithGraph` makes a kernel evaluate with the graph. `without_zero` keeps walkers of weight zero,
whose energies may be infinite, out of the gradient.
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
    """Wrap an energy so that each evaluation keeps its graph to the parameters.

    A kernel that moves under it returns energies from which a loss can be differentiated.

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
        """Return the energies (N,) at x with their graph, and the cache of the evaluation."""
        return evaluate(self.energy, x, previous_cache, graph=True)

    def gradient(self, x: Tensor, cache: Cache) -> Tensor | None:
        """Return ``dU/dx`` from a cache; None if the energy has no gradient method of its own."""
        return gradient(self.energy, x, cache)


def without_zero(energy: Energy, u: Tensor, x: Tensor, weights: Weights) -> Tensor:
    """Recompute energies with a graph that leaves out walkers of weight zero or infinite energy.

    The gradient of a product ``0 x inf`` would be NaN.

    Arguments:
        energy: the energy that was evaluated.
        u: its values (N,) with their graph.
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
