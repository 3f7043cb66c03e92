r"""Gradient kernels for discrete variables: the gradient tells what a change of state costs.

For a site i and another of its states c the energy falls by about ``-(dU/dx).(y - x)``, exactly
so for an energy that is linear in site i. Both kernels favour changes by half of that, as
Langevin does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from noneq.energies import Energy, evaluate
from noneq.kernels.base import (
    Adjustable,
    Info,
    State,
    Stepped,
    metropolis,
    required_gradient,
    with_gradient,
)
from noneq.random import draw_state
from noneq.spaces import ONE_HOT, Discrete, require

__all__ = ["DiscreteLangevin", "GibbsWithGradients"]


class _Bits:
    """Sites of two states, 0 and 1: a change of a site is its flip; (B, *sites) of everything."""

    @staticmethod
    def gains(x: Tensor, g: Tensor) -> Tensor:
        """Half the estimated fall of the energy at each change."""
        return g * (x - 0.5)

    @staticmethod
    def logits(x: Tensor, g: Tensor, h: float) -> Tensor:
        return _Bits.gains(x, g) - 1 / (4 * h)

    @staticmethod
    def draw(x: Tensor, logits: Tensor, rng: torch.Generator) -> Tensor:
        uniform = torch.rand(x.shape, generator=rng, dtype=x.dtype, device=x.device)
        return torch.where(uniform < logits.sigmoid(), 1 - x, x)

    @staticmethod
    def log_norm(logits: Tensor) -> Tensor:
        return nn.functional.softplus(logits).flatten(1).sum(1)

    @staticmethod
    def change(x: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Positions with the change ``which`` (B, 1) made, and the change that undoes it."""
        flat = x.flatten(1)
        return flat.scatter(1, which, 1 - flat.gather(1, which)).view_as(x), which


class _OneHot:
    """Sites of q states: a change leads to each state but the present; (B, *sites, q)."""

    @staticmethod
    def gains(x: Tensor, g: Tensor) -> Tensor:
        """Half the estimated fall of the energy at each change; -inf for what is none."""
        return (((g * x).sum(-1, keepdim=True) - g) / 2).masked_fill(x > 0.5, -math.inf)

    @staticmethod
    def logits(x: Tensor, g: Tensor, h: float) -> Tensor:
        """Of all states of each site: 0 of the present one."""
        return (_OneHot.gains(x, g) - 1 / (4 * h)).masked_fill(x > 0.5, 0.0)

    @staticmethod
    def draw(x: Tensor, logits: Tensor, rng: torch.Generator) -> Tensor:
        return nn.functional.one_hot(draw_state(logits, rng), x.shape[-1]).to(x)

    @staticmethod
    def log_norm(logits: Tensor) -> Tensor:
        return logits.logsumexp(-1).reshape(len(logits), -1).sum(1)

    @staticmethod
    def change(x: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Positions with the change ``which`` (B, 1) made, and the change that undoes it."""
        q = x.shape[-1]
        site = which // q
        undo = site * q + x.argmax(-1).reshape(len(x), -1).gather(1, site)
        y = x.flatten(1).scatter(1, undo, 0.0).scatter(1, which, 1.0)
        return y.view_as(x), undo


def _sites(model: Energy, kernel: object) -> type[_Bits] | type[_OneHot]:
    space = require(model, kernel, Discrete)
    return _OneHot if space == ONE_HOT else _Bits


@dataclass(frozen=True)
class GibbsWithGradients(Stepped):
    r"""Change one site, chosen by the gradient, and accept or reject: no weight.

    Propose y, which differs from x in one site, with ``q(y | x)`` proportional to ``exp(-(y -
    x).g(x) / 2)``; accept with probability ``min(1, exp(U(x) - U(y)) q(x | y) / q(y | x))``.
    Source: Grathwohl, Swersky, Hashemi, Duvenaud, Maddison 2021 (arXiv 2102.04509).
    """

    fresh = True

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """One step: at most one site of every walker changes."""
        sites = _sites(model, self)
        state = with_gradient(model, state)
        x, g = state.x, state.cache["g"]
        there = sites.gains(x, g).flatten(1).log_softmax(1)
        which = draw_state(there, rng)[:, None]
        y, undo = sites.change(x, which)
        u, cache = evaluate(model, y)
        new = State(y, u, cache, state.aux)
        back = sites.gains(y, required_gradient(model, new)).flatten(1).log_softmax(1)
        ratio = (back.gather(1, undo) - there.gather(1, which)).squeeze(1)
        return metropolis(state, new, state.u - u + ratio, rng)


@dataclass(frozen=True)
class DiscreteLangevin(Adjustable):
    r"""The discrete Langevin proposal: every site may change at once.

    Site i goes to state c with probability proportional to

        ``exp(-(y_i - x_i).g_i / 2 - [c != x_i] / (4 h))``,  y_i the one of state c,

    for bits the Gaussian step of `ULA` restricted to the states of the site. With ``A_i(x)`` the
    log of the site's normaliser (``softplus`` of the exponent for a bit, else ``logsumexp`` over
    c) the increment is

        ``U(x) - U'(y) + (y - x).(g + g')/2 + sum_i [A_i(x) - A'_i(y)]``.

    ``adjusted``: accept with the exponential of it, no weight (DMALA). Otherwise it is the weight,
    on a fresh state or on a stale one (DULA). Source of the proposal: Zhang, Liu, Liu 2022 (arXiv
    2206.09914), with step ``alpha = 2 h`` for bits, and ``4 h`` for one-hot vectors, two of which
    are twice as far apart; of the weight: derived in docs/mathematics.md.

    Arguments:
        h: step size > 0; ``1/(4 h)`` is what a change of a site costs.
        adjusted: accept or reject; False: the increment is the weight.
        target_accept: acceptance that `adapt` steers to.
        rate: how fast: ``h <- h exp(rate (accept - target_accept))``.
    """

    h: float
    adjusted: bool = True
    target_accept: float = 0.6
    rate: float = 0.5

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """One step."""
        sites = _sites(model, self)
        state = with_gradient(model, state)
        x, g = state.x, state.cache["g"]
        logits = sites.logits(x, g, self.h)
        y = sites.draw(x, logits, rng)
        u, cache = evaluate(model, y)
        new = State(y, u, cache, state.aux)
        slope = required_gradient(model, new)
        log_ratio = (state.u - u).detach() + ((y - x) * (g + slope)).flatten(1).sum(1) / 2
        log_ratio += sites.log_norm(logits) - sites.log_norm(sites.logits(y, slope, self.h))
        if self.adjusted:
            return metropolis(state, new, log_ratio, rng)
        return new, log_ratio, {}
