"""Block Gibbs sampling: blocks of variables are drawn from their conditional distributions."""

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
    """Makes one Gibbs sweep by the method ``gibbs(x, cache, rng)`` of the model.

    This leaves the model invariant, and log-weights as they are. It applies to any
    `noneq.energies.Conditional`, e.g. to `noneq.BernoulliRBM`, whose sweep draws hidden units
    given visible ones and then visible units given hidden ones. Source: Geman and Geman 1984.
    """

    fresh = True

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Make one Gibbs sweep of every walker, with one evaluation of the energy.

        Arguments:
            model: energy that the kernel targets, with a method ``gibbs``.
            state: N walkers (weighted samples), with their energies under the model.
            rng: source of randomness.

        Returns:
            The new state, increments of the log-weights of 0 (N,), and no observations (an empty
            dictionary).

        Raises:
            ValueError: the model has no method ``gibbs``.
        """
        if not isinstance(model, Conditional):
            raise ValueError(
                f"BlockGibbs draws from the model's conditionals, but {type(model).__name__} has "
                "no gibbs(x, cache, rng); a GeometricPath of two models that have it has none of "
                "its own: take a ParameterPath, noneq.kernels.GibbsWithGradients or "
                "noneq.kernels.DiscreteLangevin, or give the model a path_from(base)"
            )
        with without_autocast(state.x):  # else it would draw from logits with 8 bits of mantissa
            y = model.gibbs(state.x, state.cache, rng)
        u, cache = evaluate(model, y, skip_gradient=True)
        return State(y, u, cache, state.aux), torch.zeros_like(u), {}
