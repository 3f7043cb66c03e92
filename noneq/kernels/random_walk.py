"""The random-walk Metropolis kernel, for energies without a gradient and as a baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from noneq.energies import Energy, Factor, Identity, evaluate
from noneq.kernels.base import Info, State, Stepped, metropolis, walls
from noneq.random import normal_like
from noneq.spaces import Box, Real, require

__all__ = ["RandomWalk"]


@dataclass(frozen=True)
class RandomWalk(Stepped):
    """Makes random-walk Metropolis moves, which leave the model and log-weights invariant.

    The proposal ``y = x + sqrt(2 h) L xi``, xi standard normal, is accepted with probability
    ``min(1, exp(U(x) - U(y)))``; the energy needs no gradient. Sources: Metropolis et al. 1953;
    for target acceptance and step size Roberts, Gelman, Gilks 1997.

    Arguments:
        h: step size > 0: steps have the covariance ``2 h M``, ``M = L L^T``. About ``2.8 / d`` is
            best for a standard normal of dimension d and M = I.
        factor: square root L of the preconditioner M.
        reflect: whether to reflect proposals at the walls of the model's box, which needs a
            diagonal factor; if False a proposal outside of the box is rejected.
        target_accept: acceptance to which `adapt` steers the step size; 0.234 is optimal as d
            grows.
        rate: rate at which `adapt` changes h: ``h <- h exp(rate (accept - target_accept))``.

    Raises:
        ValueError: the step size is not positive and finite.
    """

    h: float
    factor: Factor = field(default_factory=Identity)
    reflect: bool = False
    target_accept: float = 0.25
    rate: float = 0.5

    fresh = True

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Make one move of every walker, with one evaluation of the energy.

        Arguments:
            model: energy that the kernel targets.
            state: N walkers (weighted samples), with their energies under the model.
            rng: source of randomness.

        Returns:
            The new state, increments of the log-weights of 0 (N,), and the observations (N,)
            "accept", 1.0 for accepted proposals, and "fault", 1.0 for those of energy NaN or -inf.
        """
        box = walls(self.reflect, require(model, self, Real, Box), self.factor)
        y = state.x + math.sqrt(2 * self.h) * self.factor.mul(normal_like(state.x, rng))
        if box is not None:
            y, _ = box.fold(y)
        u, cache = evaluate(model, y, skip_gradient=True)
        return metropolis(state, State(y, u, cache, state.aux), state.u - u, rng)
