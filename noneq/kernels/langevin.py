r"""Langevin kernels: ``y = x - h M g + sqrt(2 h) L xi``, ``M = L L^T``, ``g = grad U(x)``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from noneq.energies import Energy, Factor, Identity, evaluate
from noneq.kernels.base import Info, State, Stepped, metropolis, with_gradient
from noneq.spaces import Box, Real, require

__all__ = ["MALA", "ULA"]


def _square(a: Tensor) -> Tensor:
    """``|a|^2`` of every row; the norm needs no copy of a."""
    norm: Tensor = torch.linalg.vector_norm(a.flatten(1), dim=1)
    return norm.square_()


def _sum(a: Tensor) -> Tensor:
    return a.flatten(1).sum(1)


def _propose(
    model: Energy, state: State, rng: torch.Generator, h: float, factor: Factor
) -> tuple[State, Tensor]:
    r"""The Euler-Maruyama step and its increment.

    ``U(x) - U'(y) + d.(g + g')/2 + (h/4) (g.M g - g'.M g')``, ``d = y - x``, with (U, g) as the
    state has seen them and (U', g') of the model. A detailed derivation from the two Gaussian
    densities is in docs/mathematics.md. With U' = U it is the fresh form and MALA's log
    acceptance ratio; with a stale state it is the weight of Algorithm 1 of Carbone, Hua, Coste,
    Vanden-Eijnden 2023 (arXiv 2305.19414), where ``(U', g')`` is what the next step needs: one
    evaluation a step.
    """
    x, g = state.x, state.cache["g"]
    a = factor.t_mul(g)
    old = _square(a)  # g.M g
    d = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    d = factor.mul(d.normal_(0.0, math.sqrt(2 * h), generator=rng).sub_(a, alpha=h))
    del a  # memory is short here: while the model is evaluated only x, g and y are kept
    y = x + d
    work = _sum(torch.sub(y, x, out=d).mul_(g))  # d.g
    del d
    u, cache = evaluate(model, y)
    new = _square(factor.t_mul(cache["g"]))  # g'.M g'
    work += _sum((y - x).mul_(cache["g"]))  # d.g'
    increment = torch.add((state.u - u).detach(), work, alpha=1 / 2)
    increment.add_(old - new, alpha=h / 4)
    return State(y, u, cache, state.aux), increment


@dataclass(frozen=True)
class ULA(Stepped):
    r"""The unadjusted Langevin algorithm, exact with its weight at every step size.

    The increment is ``U(x) - U'(y) + d.(g + g')/2 + (h/4)(g.M g - g'.M g')``, ``d = y - x``.
    Given a stale state (``refresh=False``, the default) it is one iteration of Algorithm 1 of
    arXiv 2305.19414 at one evaluation; with ``refresh=True`` the walkers are reweighted to the
    model first. Where the energy grows faster than a square the weights of large steps are
    heavy-tailed, which no effective sample size shows: prefer `MALA` there. In a box it is refused
    (`noneq.spaces`).

    Arguments:
        h: step size > 0, in units of squared length over ``M``.
        factor: root L of the preconditioner M; `noneq.energies.covariance`.
        refresh: whether to evaluate a stale state under the model before the step.
    """

    h: float
    factor: Factor = field(default_factory=Identity)
    refresh: bool = False

    @property
    def fresh(self) -> bool:
        """Stale states are welcome unless ``refresh``."""
        return self.refresh

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """One step."""
        require(model, self, Real)
        state = with_gradient(model, state)
        new, increment = _propose(model, state, rng, self.h, self.factor)
        return new, increment, {}


@dataclass(frozen=True)
class MALA(Stepped):
    r"""The Metropolis-adjusted Langevin algorithm. It leaves the model invariant: no weight.

    Accept y with probability ``min(1, exp(r))``, r the fresh increment of `ULA`. Non-finite
    proposals are rejected; those of energy NaN or -inf, which no energy should have, are counted
    (``info["fault"]``, their share). Source: Roberts and Tweedie 1996.

    Arguments:
        h: step size > 0. On a whitened Gaussian of dimension d about ``1.3 d^(-1/3)``.
        factor: root L of the preconditioner M, best near the model's covariance.
        target_accept: acceptance that `adapt` steers to; 0.574 is optimal as d grows (Roberts and
            Rosenthal 1998).
        rate: how fast: ``h <- h exp(rate (accept - target_accept))``.
    """

    h: float
    factor: Factor = field(default_factory=Identity)
    target_accept: float = 0.6
    rate: float = 0.5

    fresh = True

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """One step."""
        require(model, self, Real, Box)
        state = with_gradient(model, state)
        new, log_ratio = _propose(model, state, rng, self.h, self.factor)
        return metropolis(state, new, log_ratio, rng)
