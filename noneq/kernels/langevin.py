"""Langevin kernels: ``y = x - h M g + sqrt(2 h) L xi``, ``M = L L^T``, ``g = dU/dx``.

`ULA` takes every step and corrects its bias by a weight; `MALA` accepts or rejects steps, and
needs no weight. M is the preconditioner and xi standard normal. `ULA` may also follow a gradient
whose components are clipped: the weight is that of the clipped step.
"""

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
    """Return ``|a|^2`` of every row; the norm needs no copy of a."""
    norm: Tensor = torch.linalg.vector_norm(a.flatten(1), dim=1)
    return norm.square_()


def _sum(a: Tensor) -> Tensor:
    """Return the sum of every row."""
    return a.flatten(1).sum(1)


def _followed(g: Tensor, clip: float | None) -> Tensor:
    """Return the vector that a step follows: the gradient g, or g with clipped components."""
    return g if clip is None else g.clamp(-clip, clip)


def _propose(
    model: Energy,
    state: State,
    rng: torch.Generator,
    h: float,
    factor: Factor,
    clip: float | None = None,
) -> tuple[State, Tensor]:
    """Make an Euler-Maruyama step and compute its increment.

    ``U(x) - U'(y) + d.(g + g')/2 + (h/4) (g.M g - g'.M g')``, ``d = y - x``, with (U, g) as the
    state has seen them and (U', g') of the model. The derivation from the two Gaussian densities
    is in docs/mathematics.md. With U' = U it is the log acceptance ratio of MALA; with a stale
    state it is the weight of Algorithm 1 of Carbone, Hua, Coste, Vanden-Eijnden 2023 (arXiv
    2305.19414), where ``(U', g')`` is what the next step needs: one evaluation a step. The line
    holds for any vectors g and g' that the two steps follow, e.g. for clipped gradients.
    """
    x, g = state.x, _followed(state.cache["g"], clip)
    a = factor.t_mul(g)
    old = _square(a)  # g.M g
    d = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    d = factor.mul(d.normal_(0.0, math.sqrt(2 * h), generator=rng).sub_(a, alpha=h))
    del a  # to save memory, only x, g and y are kept while the model is evaluated
    y = x + d
    work = _sum(torch.sub(y, x, out=d).mul_(g))  # d.g
    del d
    u, cache = evaluate(model, y)
    g = _followed(cache["g"], clip)
    new = _square(factor.t_mul(g))  # g'.M g'
    work += _sum((y - x).mul_(g))  # d.g'
    increment = torch.add((state.u - u).detach(), work, alpha=1 / 2)
    increment.add_(old - new, alpha=h / 4)
    return State(y, u, cache, state.aux), increment


@dataclass(frozen=True)
class ULA(Stepped):
    """Makes unadjusted Langevin steps (ULA), whose bias the weights correct at any step size.

    A step is ``y = x - h M g + sqrt(2 h) L xi``, ``M = L L^T``, xi standard normal. With U and
    g = dU/dx of the energy under which the walkers (weighted samples) were last evaluated, and U'
    and g' = dU'/dy of the model, the increment of the log-weight is

        ``U(x) - U'(y) + d.(g + g')/2 + (h/4)(g.M g - g'.M g')``,  ``d = y - x``.

    If the walkers were last evaluated under another energy than the model (a stale state), this is
    one iteration of Algorithm 1 of Carbone, Hua, Coste, Vanden-Eijnden 2023 (arXiv 2305.19414),
    with one evaluation. Where the energy grows faster than quadratically, the weights of large
    steps are heavy-tailed, which an effective sample size does not show: prefer `MALA` there. A
    model in a box is an error, since a step may leave the box.

    With ``clip = c`` both steps follow gradients whose components are set to the nearest number in
    [-c, c], ``y = x - h M k + sqrt(2 h) L xi``, ``k_i = min(max(g_i, -c), c)``, and k and k' take
    the places of g and g' in the increment, which is exact again: the clipped step is a Gaussian,
    too, with another mean. With M = 1 the drift moves each coordinate by h c at most. Clipping
    keeps walkers from running away where the gradient is very large; it does not make their
    weights less spread there.

    Arguments:
        h: step size > 0, the time step of the Langevin dynamics.
        factor: square root L of the preconditioner M.
        refresh: whether to reweight the walkers to the model before the step, if they were last
            evaluated under another energy; this costs one more evaluation.
        clip: largest absolute value c > 0 of a component of the gradient that a step follows;
            None: gradients are not clipped.

    Raises:
        ValueError: the step size is not positive and finite, or ``clip`` is not positive.

    >>> import noneq
    >>> start, target = (noneq.Gaussian(torch.full((2,), m), Identity()) for m in (0.0, 0.5))
    >>> rng = torch.Generator().manual_seed(0)
    >>> walkers = noneq.Walkers.sample(start, 4000, rng).move(ULA(0.1), target, rng)
    >>> bool((walkers.mean(walkers.x) - 0.5).abs().max() < 0.1)  # weighted: the target's mean
    True
    >>> walkers = walkers.move(ULA(0.1, clip=0.2), target, rng)
    >>> bool((walkers.mean(walkers.x) - 0.5).abs().max() < 0.1)
    True
    """

    h: float
    factor: Factor = field(default_factory=Identity)
    refresh: bool = False
    clip: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip is positive, or None for the whole gradient, got {self.clip}")

    @property
    def fresh(self) -> bool:
        """Whether walkers are evaluated under the model before the step: if ``refresh``."""
        return self.refresh

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Make one step of every walker, with one evaluation of the energy.

        Arguments:
            model: energy that the kernel targets.
            state: N walkers (weighted samples), evaluated under this or an earlier energy.
            rng: source of randomness.

        Returns:
            The new state, the increments of the log-weights (N,), and no observations (an empty
            dictionary).
        """
        require(model, self, Real)
        state = with_gradient(model, state)
        new, increment = _propose(model, state, rng, self.h, self.factor, self.clip)
        return new, increment, {}


@dataclass(frozen=True)
class MALA(Stepped):
    """Makes Metropolis-adjusted Langevin steps (MALA), which leave the model invariant.

    The proposal ``y = x - h M dU/dx + sqrt(2 h) L xi``, ``M = L L^T``, xi standard normal, is
    accepted by the rule of Metropolis and Hastings; log-weights do not change. Proposals with a
    non-finite energy are rejected; those of energy NaN or -inf, which no energy should be, are
    marked by the observation "fault". Source: Roberts and Tweedie 1996.

    Arguments:
        h: step size > 0, the time step of the Langevin dynamics; about ``1.3 d^(-1/3)`` is best
            for a standard normal of dimension d and M = I.
        factor: square root L of the preconditioner M, which is best near the model's covariance.
        target_accept: acceptance to which `adapt` steers the step size; 0.574 is optimal as the
            dimension grows (Roberts and Rosenthal 1998).
        rate: rate at which `adapt` changes h: ``h <- h exp(rate (accept - target_accept))``.

    Raises:
        ValueError: the step size is not positive and finite.

    >>> import noneq
    >>> model = noneq.Gaussian(torch.zeros(2), Identity())
    >>> rng = torch.Generator().manual_seed(0)
    >>> walkers = noneq.Walkers.sample(model, 1000, rng).move(MALA(0.5), model, rng)
    >>> 0.8 < float(walkers.info["accept"]) < 1.0
    True
    """

    h: float
    factor: Factor = field(default_factory=Identity)
    target_accept: float = 0.6
    rate: float = 0.5

    fresh = True

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Make one step of every walker, with one evaluation of the energy.

        Arguments:
            model: energy that the kernel targets.
            state: N walkers (weighted samples), with energies and gradients under the model.
            rng: source of randomness.

        Returns:
            The new state, increments of the log-weights of 0 (N,), and the observations (N,)
            "accept", 1.0 for accepted proposals, and "fault", 1.0 for those of energy NaN or -inf.
        """
        require(model, self, Real, Box)
        state = with_gradient(model, state)
        new, log_ratio = _propose(model, state, rng, self.h, self.factor)
        return metropolis(state, new, log_ratio, rng)
