"""Gradient kernels for discrete variables, which estimate by how much a change alters the energy.

A change of one variable from position x to y lowers the energy by about ``-(dU/dx).(y - x)``,
exactly so if the energy is linear in this variable. Both kernels propose a change with a
log-probability raised by half of that, as Langevin dynamics does.
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
    """Changes of sites of two states, 0 and 1: each is a flip; all tensors are (B, *sites)."""

    @staticmethod
    def gains(x: Tensor, g: Tensor) -> Tensor:
        """Return half the estimated fall of the energy at each change."""
        return g * (x - 0.5)

    @staticmethod
    def logits(x: Tensor, g: Tensor, h: float) -> Tensor:
        """Return the log-odds of each flip at step size h."""
        return _Bits.gains(x, g) - 1 / (4 * h)

    @staticmethod
    def draw(x: Tensor, logits: Tensor, rng: torch.Generator) -> Tensor:
        """Draw which sites flip, and return the new positions."""
        uniform = torch.rand(x.shape, generator=rng, dtype=x.dtype, device=x.device)
        return torch.where(uniform < logits.sigmoid(), 1 - x, x)

    @staticmethod
    def log_norm(logits: Tensor) -> Tensor:
        """Return the sum (B,) of the log normalisers of all sites."""
        return nn.functional.softplus(logits).flatten(1).sum(1)

    @staticmethod
    def change(x: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Make the change ``which`` (B, 1), and return positions and the change that undoes it."""
        flat = x.flatten(1)
        return flat.scatter(1, which, 1 - flat.gather(1, which)).view_as(x), which


class _OneHot:
    """Changes of sites of q states, to each state but the present one: (B, *sites, q)."""

    @staticmethod
    def gains(x: Tensor, g: Tensor) -> Tensor:
        """Return half the estimated fall of the energy at each change; -inf for no change."""
        return (((g * x).sum(-1, keepdim=True) - g) / 2).masked_fill(x > 0.5, -math.inf)

    @staticmethod
    def logits(x: Tensor, g: Tensor, h: float) -> Tensor:
        """Return the logits of all states of each site at step size h; 0 for the present."""
        return (_OneHot.gains(x, g) - 1 / (4 * h)).masked_fill(x > 0.5, 0.0)

    @staticmethod
    def draw(x: Tensor, logits: Tensor, rng: torch.Generator) -> Tensor:
        """Draw a state of each site, and return the new positions."""
        return nn.functional.one_hot(draw_state(logits, rng), x.shape[-1]).to(x)

    @staticmethod
    def log_norm(logits: Tensor) -> Tensor:
        """Return the sum (B,) of the log normalisers of all sites."""
        return logits.logsumexp(-1).reshape(len(logits), -1).sum(1)

    @staticmethod
    def change(x: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Make the change ``which`` (B, 1), and return positions and the change that undoes it."""
        q = x.shape[-1]
        site = which // q
        undo = site * q + x.argmax(-1).reshape(len(x), -1).gather(1, site)
        y = x.flatten(1).scatter(1, undo, 0.0).scatter(1, which, 1.0)
        return y.view_as(x), undo


def _sites(model: Energy, kernel: object) -> type[_Bits] | type[_OneHot]:
    """Return the changes that fit the model's sites; raise ValueError where there are no sites."""
    space = require(model, kernel, Discrete)
    return _OneHot if space == ONE_HOT else _Bits


@dataclass(frozen=True)
class GibbsWithGradients(Stepped):
    """Proposes a change of one discrete variable, chosen by the gradient ``g = dU/dx``.

    The proposal y, which differs from x in one variable (a bit or a one-hot site), is drawn from
    ``q(y | x)`` proportional to ``exp(-(y - x).g(x) / 2)``, and accepted with probability
    ``min(1, exp(U(x) - U(y)) q(x | y) / q(y | x))``. This leaves the model invariant: log-weight
    increments are 0. Source: Grathwohl, Swersky, Hashemi, Duvenaud, Maddison 2021 (arXiv
    2102.04509).
    """

    fresh = True

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Make one step, in which at most one site of every walker changes.

        Arguments:
            model: energy that the kernel targets.
            state: N walkers (weighted samples), with energies under the model.
            rng: source of randomness.

        Returns:
            The new state, increments of the log-weights of 0 (N,), and the observations (N,)
            "accept", 1.0 for accepted proposals, and "fault", 1.0 for those of energy NaN or -inf.
        """
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
    """Makes discrete Langevin steps, in which every site may change at once.

    Site i (a bit or a one-hot vector) goes from x_i to y_i with probability proportional to

        ``exp(-(y_i - x_i).g_i / 2 - [y_i != x_i] / (4 h))``,  ``g = dU/dx``,

    which for bits is the Gaussian step of `ULA` restricted to 0 and 1. ``A_i(x)`` is the logarithm
    of the sum of these terms over the states y_i, and ``A'_i(y)`` that of the reverse step. With
    U' and g' = dU'/dy of the model, and with U and g of the energy under which the walkers
    (weighted samples) were last evaluated, the increment is

        ``r = U(x) - U'(y) + (y - x).(g + g')/2 + sum_i [A_i(x) - A'_i(y)]``.

    If ``adjusted`` (DMALA), U' = U, and the step is accepted with probability ``min(1, e^r)``;
    log-weights do not change. Otherwise (DULA) r is added to the log-weights, and U may be an
    earlier energy than U' (a stale state). Source of the proposal: Zhang, Liu, Liu 2022 (arXiv
    2206.09914), where the step size is called alpha: ``alpha = 2 h`` for bits and ``4 h`` for
    one-hot vectors, two of which are twice as far apart. The weight is derived in
    docs/mathematics.md.

    Arguments:
        h: step size > 0; a change of a site lowers the exponent by ``1/(4 h)``.
        adjusted: whether to accept or reject; if False r is added to the log-weights.
        target_accept: acceptance to which `adapt` steers the step size.
        rate: rate at which `adapt` changes h: ``h <- h exp(rate (accept - target_accept))``.

    Raises:
        ValueError: the step size is not positive and finite.
    """

    h: float
    adjusted: bool = True
    target_accept: float = 0.6
    rate: float = 0.5

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Make one step of every walker, with one evaluation of the energy.

        Arguments:
            model: energy that the kernel targets.
            state: N walkers (weighted samples) with their energies.
            rng: source of randomness.

        Returns:
            The new state, the increments of the log-weights (N,), 0 if ``adjusted``, and then also
            the observations (N,) "accept", 1.0 for accepted proposals, and "fault", 1.0 for those
            of energy NaN or -inf; both are 0.0 otherwise.
        """
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
