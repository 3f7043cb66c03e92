r"""Block Gibbs: draw blocks of variables from their exact conditional distributions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from noneq.energies import Energy, evaluate
from noneq.energies.base import Conditional
from noneq.kernels.base import Info, State, Stepped
from noneq.numerics import without_autocast

__all__ = ["BlockGibbs"]


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
                "its own: take a ParameterPath, noneq.kernels.GibbsWithGradients or "
                "noneq.kernels.DiscreteLangevin, or give the model a path_from(base)"
            )
        with without_autocast(state.x):  # or it would draw from logits of 8 bits
            y = model.gibbs(state.x, state.cache, rng)
        u, cache = evaluate(model, y, skip_gradient=True)
        return State(y, u, cache, state.aux), torch.zeros_like(u), {}
