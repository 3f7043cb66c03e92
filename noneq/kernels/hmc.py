r"""Hamiltonian Monte Carlo: a few gradient steps in one direction before each decision."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch

from noneq.covariance import Factor, Identity
from noneq.energies import Energy, evaluate, faulty
from noneq.kernels.base import Info, State, adapted, check_step, share, where

__all__ = ["HMC"]


@dataclass(frozen=True)
class HMC:
    r"""Hamiltonian Monte Carlo with a fresh momentum. It leaves the model invariant: no weight.

    With ``M = L L^T``, v of the standard normal and ``e = sqrt(2 h)``, ``leaps`` times

        ``v <- v - (e/2) L^T g(x),  x <- x + e L v,  v <- v - (e/2) L^T g(x)``

    (v is the momentum, whitened), then accept with probability ``min(1, exp(H_old - H_new))``,
    ``H = U + |v|^2 / 2``. One leap is `MALA` with the same h. Non-finite proposals are rejected;
    those of energy NaN or -inf are counted (``info["fault"]``, their share). A move costs
    ``leaps`` evaluations, and goes as far as the square of it many moves of a random walk.
    Sources: Duane, Kennedy, Pendleton, Roweth 1987; Neal 2011 (arXiv 1206.1901).

    Arguments:
        h: step size > 0, in units of squared length over ``M``, as of `MALA`.
        factor: root L of the preconditioner M, the inverse of the mass matrix.
        leaps: leapfrog steps of a move, 1 or more.
        goal: acceptance that `tune` steers to; 0.65 is optimal as d grows (Beskos et al. 2013,
            arXiv 1001.4460).
        rate: how fast: ``h <- h exp(rate (accept - goal))``.
    """

    h: float
    factor: Factor = field(default_factory=Identity)
    leaps: int = 4
    goal: float = 0.65
    rate: float = 0.5

    fresh = True

    def __post_init__(self) -> None:
        check_step(self.h)
        if self.leaps < 1:
            raise ValueError(f"a move has 1 leap or more, got {self.leaps}")

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, torch.Tensor, Info]:
        """One move."""
        e, x, u, cache = math.sqrt(2 * self.h), state.x, state.u, state.cache
        v = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
        before = u + v.flatten(1).square().sum(1) / 2
        for _ in range(self.leaps):
            v = v.sub_(self.factor.t_mul(cache["g"]), alpha=e / 2)
            x = x + e * self.factor.mul(v)
            u, cache = evaluate(model, x)
            v = v.sub_(self.factor.t_mul(cache["g"]), alpha=e / 2)
        log_ratio = before - (u + v.flatten(1).square().sum(1) / 2)
        uniform = torch.rand(u.shape, generator=rng, dtype=u.dtype, device=u.device)
        # false for NaN; an energy of -inf is a fault, not a mode
        accept = (uniform.log() < log_ratio) & torch.isfinite(u)
        info = {"accept": share(accept), "fault": share(faulty(u))}
        new = State(x, u, cache, state.aux)
        return where(accept, new, state), torch.zeros_like(log_ratio), info

    def tune(self, info: Info) -> HMC:
        """Follow the acceptance to the goal; itself, if none was observed."""
        return replace(self, h=adapted(self.h, info, self.goal, self.rate))

    def scaled(self, by: float) -> HMC:
        """Step size ``by h``."""
        return replace(self, h=self.h * by)

    def preconditioned(self, factor: Factor) -> HMC:
        """The same with another factor."""
        return replace(self, factor=factor)
