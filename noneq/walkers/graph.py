"""Energies of walkers with their graph to the parameters, for a loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noneq.energies import Cache, Energy, Snapshot, evaluate, gradient
from noneq.kernels import Info, Kernel, State
from noneq.kernels.base import apply_in_parts
from noneq.spaces import space_of
from noneq.walkers.weights import Weights

__all__ = ["WithGraph", "apply", "lacks_gradient", "without_zero"]


class WithGraph:
    """The energy given to a kernel whose last evaluation serves the next loss.

    Arguments:
        energy: the model.
    """

    def __init__(self, energy: Energy) -> None:
        self.energy = self.__wrapped__ = energy
        self.space = space_of(energy)

    def __call__(self, x: Tensor) -> Tensor:
        """Energies (N,)."""
        return self.energy(x)

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Cache | None = None,
        graph: bool = True,  # noqa: ARG002
    ) -> tuple[Tensor, Cache]:
        """Energies with their graph, and the cache."""
        return evaluate(self.energy, x, previous_cache, graph=True)

    def gradient(self, x: Tensor, cache: Cache) -> Tensor | None:
        """The gradient to x, where the energy offers it apart."""
        return gradient(self.energy, x, cache)


def apply(
    kernel: Kernel, energy: Energy, state: State, rng: torch.Generator, *, graph: bool
) -> tuple[State, Tensor, Info]:
    """What the kernel returns; with ``graph`` u keeps its graph, else parts are taken in turn."""
    if graph:
        return kernel(WithGraph(energy), state, rng)
    return apply_in_parts(kernel, energy, state, rng)


def without_zero(energy: Energy, u: Tensor, x: Tensor, weights: Weights) -> Tensor:
    """Energies u at x with a graph that walkers of weight zero are no part of: 0 x inf is NaN."""
    if not weights.summary.zero and not weights.summary.invalid:
        return u
    some = torch.isfinite(u.detach()) & (weights.log_w != -math.inf)
    kept, _ = evaluate(energy, x[some], graph=True, skip_gradient=True)
    return u.detach().masked_scatter(some, kept)


def lacks_gradient(cache: Cache, now: Snapshot, before: Snapshot | None) -> bool:
    """Whether the gradient was left out, which only the model as it was then could give."""
    models = (now.model, None if before is None else before.model)
    return "g" not in cache and any(hasattr(model, "gradient") for model in models)
