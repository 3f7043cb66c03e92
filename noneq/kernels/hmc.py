r"""Hamiltonian Monte Carlo and underdamped Langevin dynamics: one trajectory, four kernels.

============================ ========================= ===================================
kernel                       arguments                 increment of the log-weight
============================ ========================= ===================================
HMC                          ``HMC(h)``                0, on a fresh state
unadjusted HMC               ``HMC(h, adjusted=False)`` ``H_old - H_new``, fresh or stale
underdamped Langevin, OBABO  ``HMC.obabo(h)``          ``H_old - H_new``, fresh or stale
its Metropolised form, GHMC  ``HMC.obabo(h, adjusted=True)`` 0, on a fresh state
============================ ========================= ===================================
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
    r"""Hamiltonian Monte Carlo, exact by rejection or, unadjusted, by its weight.

    With ``M = L L^T``, a standard normal v (the momentum, whitened) and ``e = sqrt(2 h)``,
    ``leapfrog_steps`` times

        ``v <- v - (e/2) L^T g(x),  x <- x + e L v,  v <- v - (e/2) L^T g(x)``

    from (x, v) to (y, v'), ``H = U + |v|^2 / 2``. The map is a bijection that preserves volume.
    ``adjusted``: accept with probability ``min(1, e^r)``, ``r = H_old(x, v) - H_new(y, v')``;
    one leap is `MALA` with the same h. Otherwise r is the log-weight, on a fresh state or on a
    stale one, whose first half kick is of the old gradient.

    A finite ``friction`` keeps a part of the momentum: before the trajectory, and again after it,
    ``v <- c v + sqrt(1 - c^2) xi``, ``c = exp(-friction e / 2)``. With one leap this is the
    underdamped Langevin scheme OBABO. The momentum is kept in ``state.aux["v"]``; it changes sign
    where a proposal is rejected.

    A move costs ``leapfrog_steps`` evaluations, and goes as far as ``leapfrog_steps^2`` moves of a
    random walk. Sources: Duane, Kennedy, Pendleton, Roweth 1987; Horowitz 1991 (friction); Neal
    2011 (arXiv 1206.1901); weights derived in docs/mathematics.md.

    Arguments:
        h: step size > 0, in units of squared length over ``M``, as of `MALA`.
        factor: root L of the preconditioner M, the inverse of the mass matrix.
        leapfrog_steps: leapfrog steps of a move, 1 or more.
        friction: gamma > 0 in inverse units of e; infinite: a fresh momentum every time.
        adjusted: accept or reject; False: the increment is the weight.
        reflect: bounce off the walls of the model's box, with a diagonal factor. Without it a
            proposal outside is rejected, and an unadjusted kernel refuses a box.
        target_accept: acceptance that `adapt` steers to; 0.65 is optimal as d grows (Beskos et al. 2013,
            arXiv 1001.4460).
        rate: how fast: ``h <- h exp(rate (accept - target_accept))``.
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
        """Underdamped Langevin dynamics (OBABO); ``adjusted`` is generalised HMC."""
        return cls(h, factor or Identity(), 1, friction, adjusted, reflect)

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """One move."""
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
        unbounded = not (self.adjusted or self.reflect)
        space = require(model, self, *([Real] if unbounded else [Real, Box]))
        return walls(self.reflect, space, self.factor)

    def _refreshed(self, v: Tensor | None, x: Tensor, rng: torch.Generator) -> Tensor:
        """Half a refreshment of the momentum, if there is one to keep a part of."""
        xi = normal_like(x, rng)
        if math.isinf(self.friction) or v is None:
            return xi
        keep = math.exp(-self.friction * math.sqrt(2 * self.h) / 2)
        return xi.mul_(math.sqrt(1 - keep**2)).add_(v, alpha=keep)

    def _after(self, state: State, rng: torch.Generator) -> State:
        # a whole one before would do, but for the way back (`Schedule.backward`) on which another
        # step comes next: a move that is its own mirror image has a half on either side
        if math.isinf(self.friction):
            return state
        return state._replace(aux=self._kept(state, self._refreshed(state.aux["v"], state.x, rng)))

    def _kept(self, state: State, v: Tensor) -> Cache:
        return state.aux if math.isinf(self.friction) else {**state.aux, "v": v}

    def _trajectory(
        self, model: Energy, state: State, v: Tensor, box: Box | None
    ) -> tuple[State, Tensor]:
        e, x, u, cache = math.sqrt(2 * self.h), state.x, state.u, state.cache
        v = v - (e / 2) * self.factor.t_mul(required_gradient(model, state))
        for leap in range(self.leapfrog_steps):
            x = x + e * self.factor.mul(v)
            if box is not None:
                x, sign = box.fold(x)
                v = v.mul_(sign)
            u, cache = evaluate(model, x)
            # the half kicks of two leaps are one
            kick = e if leap + 1 < self.leapfrog_steps else e / 2
            v = v.sub_(self.factor.t_mul(cache["g"]), alpha=kick)
        return State(x, u, cache, self._kept(state, v)), v


def _square(v: Tensor) -> Tensor:
    return v.flatten(1).square().sum(1)
