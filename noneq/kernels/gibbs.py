r"""Block Gibbs: draw blocks of variables from their exact conditional distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from noneq.energies import Cache, Energy, evaluate, without_autocast
from noneq.kernels.base import Info, State
from noneq.kernels.building import Stepped

__all__ = ["BlockGibbs", "Conditional"]


@runtime_checkable
class Conditional(Protocol):
    """An energy that can draw from its own conditional distributions."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Energies (B,)."""

    def gibbs(self, x: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:
        """One sweep from x, whose cache this energy made: new positions, x untouched.

        It leaves the model invariant: each block is drawn given all others, in any fixed order.
        For `noneq.bennett` it must be its own mirror image besides: a sweep of two layers is,
        where one of them is summed out, and one over many blocks that goes there and back.
        """


@dataclass(frozen=True)
class BlockGibbs(Stepped):
    r"""One sweep by the model itself, ``model.gibbs(x, cache, rng)``: no weight.

    For any model with such a method, e.g. `noneq.BernoulliRBM`: hidden units given visible ones,
    then visible given hidden. The sweep must be of the model that the walkers belong to: of the
    model before an update it is biased. Source: Geman and Geman 1984.
    """

    fresh = True

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """One sweep, one evaluation."""
        if not isinstance(model, Conditional):
            raise ValueError(
                f"BlockGibbs draws from the model's conditionals, but {type(model).__name__} has "
                "no gibbs(x, cache, rng); a GeometricPath of two models that have it has none of "
                "its own: take a ParameterPath, noneq.GibbsWithGradients or "
                "noneq.DiscreteLangevin, or give the model a path_from(base)"
            )
        with without_autocast(state.x):  # or it would draw from logits of 8 bits
            y = model.gibbs(state.x, state.cache, rng)
        u, cache = evaluate(model, y, lean=True)
        return State(y, u, cache, state.aux), torch.zeros_like(u), {}
