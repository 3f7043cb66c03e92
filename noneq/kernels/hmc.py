"""Hamiltonian Monte Carlo (HMC) and underdamped Langevin dynamics: one class, four kernels.

With H the energy plus the kinetic energy at the ends of a trajectory, h the step size, and a state
*fresh* if its energies are those of the model, *stale* if they are of an earlier one:

============================ ================================ ==================================
kernel                       arguments                        increment of the log-weight
============================ ================================ ==================================
HMC                          ``HMC(h)``                       0, on a fresh state
unadjusted HMC               ``HMC(h, adjusted=False)``       ``H_old - H_new``, fresh or stale
underdamped Langevin, OBABO  ``HMC.obabo(h)``                 ``H_old - H_new``, fresh or stale
generalised HMC (GHMC)       ``HMC.obabo(h, adjusted=True)``  0, on a fresh state
============================ ================================ ==================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from noneq.energies import Cache, Energy, Factor, Identity, evaluate
from noneq.kernels.base import (
    Adjustable,
    Info,
    State,
    metropolis,
    required_gradient,
    walls,
    with_gradient,
)
from noneq.random import normal_like
from noneq.spaces import Box, Real, require

__all__ = ["HMC"]


@dataclass(frozen=True)
class HMC(Adjustable):
    """Makes Hamiltonian Monte Carlo moves, corrected by rejection or, if unadjusted, by weights.

    With ``M = L L^T``, ``g = dU/dx``, a standard normal v (the whitened momentum) and
    ``e = sqrt(2 h)``, a move makes ``leapfrog_steps`` times

        ``v <- v - (e/2) L^T g(x),  x <- x + e L v,  v <- v - (e/2) L^T g(x)``

    from (x, v) to (y, v'), a bijection that preserves volume. With ``H = U + |v|^2 / 2`` let
    ``r = H_old(x, v) - H_new(y, v')``, where H_old has the energy under which the walkers
    (weighted samples) were last evaluated, and H_new that of the model. If ``adjusted``, both are
    the same, and the move is accepted with probability ``min(1, e^r)``; with one leapfrog step
    this is `MALA` at the same h. Otherwise r is added to the log-weight, and the energies may
    differ (a stale state): the first half step then uses the gradient of the old one.

    A finite ``friction`` keeps a part of the momentum: before the trajectory, and again after it,
    ``v <- c v + sqrt(1 - c^2) xi``, ``c = exp(-friction e / 2)``, xi standard normal. With one
    leapfrog step this is the underdamped Langevin scheme OBABO. The momentum is kept in
    ``state.aux["v"]``; it changes sign where a proposal is rejected.

    A move costs ``leapfrog_steps`` evaluations, and goes as far as ``leapfrog_steps^2`` moves of a
    random walk. Sources: Duane, Kennedy, Pendleton, Roweth 1987; Horowitz 1991 (friction); Neal
    2011 (arXiv 1206.1901); the weights are derived in docs/mathematics.md.

    Arguments:
        h: step size > 0; the time step of a leapfrog step is ``sqrt(2 h)``.
        factor: square root L of the preconditioner M, the inverse of the mass matrix.
        leapfrog_steps: number of leapfrog steps of a move, 1 or more.
        friction: friction > 0 per unit of time; by default infinite, which draws a new momentum at
            every move.
        adjusted: whether to accept or reject; if False r is added to the log-weights.
        reflect: whether to reflect at the walls of the model's box, which needs a diagonal factor.
            If False a proposal outside of the box is rejected, and an unadjusted kernel raises an
            error for a model in a box.
        target_accept: acceptance to which `adapt` steers the step size; 0.65 is optimal as the
            dimension grows (Beskos et al. 2013, arXiv 1001.4460).
        rate: rate at which `adapt` changes h: ``h <- h exp(rate (accept - target_accept))``.

    Raises:
        ValueError: a step size, number of steps or friction is not positive, or h is infinite.

    >>> import noneq
    >>> model = noneq.Gaussian(torch.zeros(2), Identity())
    >>> rng = torch.Generator().manual_seed(0)
    >>> kernel = HMC(0.2, leapfrog_steps=3)
    >>> walkers = noneq.Walkers.sample(model, 1000, rng).move(kernel, model, rng)
    >>> kernel.adapt(walkers.info).h > kernel.h  # more than 0.65 were accepted
    True
    """

    h: float
    factor: Factor = field(default_factory=Identity)
    leapfrog_steps: int = 4
    friction: float = math.inf
    adjusted: bool = True
    reflect: bool = False
    target_accept: float = 0.65
    rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.leapfrog_steps < 1:
            raise ValueError(f"a move has 1 leap or more, got {self.leapfrog_steps}")
        if not self.friction > 0:
            raise ValueError(f"friction must be positive, got {self.friction}")

    @classmethod
    def obabo(
        cls,
        h: float,
        factor: Factor | None = None,
        *,
        friction: float = 1.0,
        adjusted: bool = False,
        reflect: bool = False,
    ) -> Self:
        """Make the kernel of underdamped Langevin dynamics: one leapfrog step with friction.

        A move is the splitting scheme OBABO: the momentum is partly redrawn (O), a leapfrog step
        is made (B A B), and the momentum is partly redrawn again.

        Arguments:
            h: step size > 0; the time step is ``sqrt(2 h)``.
            factor: square root L of the preconditioner ``M = L L^T``; by default the identity.
            friction: friction > 0 per unit of time; the smaller, the more momentum is kept.
            adjusted: whether to accept or reject moves, as generalised HMC does.
            reflect: whether to reflect at the walls of the model's box.

        Returns:
            The kernel.
        """
        return cls(h, factor or Identity(), 1, friction, adjusted, reflect)

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Move every walker by ``leapfrog_steps`` evaluations of the energy.

        Arguments:
            model: energy that the kernel targets.
            state: N walkers (weighted samples) with their energies.
            rng: source of randomness.

        Returns:
            The new state, the increments of the log-weights (N,), 0 if ``adjusted``, and then also
            the observations (N,) "accept", 1.0 for accepted proposals, and "fault", 1.0 for those
            of energy NaN or -inf; both are 0.0 otherwise.
        """
        box = self._box(model)
        state = with_gradient(model, state)
        v = self._refreshed(state.aux.get("v"), state.x, rng)
        new, end = self._trajectory(model, state, v, box)
        log_ratio = state.u - new.u + (_square(v) - _square(end)) / 2
        if not self.adjusted:
            return self._after(new, rng), log_ratio, {}
        turned = state._replace(aux=self._kept(state, -v))
        new, increment, info = metropolis(turned, new, log_ratio, rng)
        return self._after(new, rng), increment, info

    def _box(self, model: Energy) -> Box | None:
        """Return the box to reflect in, or None; raise ValueError for a wrong space."""
        unbounded = not (self.adjusted or self.reflect)
        space = require(model, self, *([Real] if unbounded else [Real, Box]))
        return walls(self.reflect, space, self.factor)

    def _refreshed(self, v: Tensor | None, x: Tensor, rng: torch.Generator) -> Tensor:
        """Return the momentum after half a refreshment, or a new one if none is kept."""
        xi = normal_like(x, rng)
        if math.isinf(self.friction) or v is None:
            return xi
        keep = math.exp(-self.friction * math.sqrt(2 * self.h) / 2)
        return xi.mul_(math.sqrt(1 - keep**2)).add_(v, alpha=keep)

    def _after(self, state: State, rng: torch.Generator) -> State:
        # one refreshment before would do for forward annealing; the halves on either side make the
        # move its own time reversal, which backward annealing (`Schedule.backward`) needs
        """Return the state after the second half of the refreshment."""
        if math.isinf(self.friction):
            return state
        return state._replace(aux=self._kept(state, self._refreshed(state.aux["v"], state.x, rng)))

    def _kept(self, state: State, v: Tensor) -> Cache:
        """Return ``aux`` with the momentum v in it, if it is kept."""
        return state.aux if math.isinf(self.friction) else {**state.aux, "v": v}

    def _trajectory(
        self, model: Energy, state: State, v: Tensor, box: Box | None
    ) -> tuple[State, Tensor]:
        """Make the leapfrog steps, and return the new state and the momentum at their end."""
        e, x, u, cache = math.sqrt(2 * self.h), state.x, state.u, state.cache
        v = v - (e / 2) * self.factor.t_mul(required_gradient(model, state))
        for leap in range(self.leapfrog_steps):
            x = x + e * self.factor.mul(v)
            if box is not None:
                x, sign = box.fold(x)
                v = v.mul_(sign)
            u, cache = evaluate(model, x)
            # two half steps of the momentum in a row are made at once
            kick = e if leap + 1 < self.leapfrog_steps else e / 2
            v = v.sub_(self.factor.t_mul(cache["g"]), alpha=kick)
        return State(x, u, cache, self._kept(state, v)), v


def _square(v: Tensor) -> Tensor:
    """Return ``|v|^2`` of every row."""
    return v.flatten(1).square().sum(1)
