"""What kernels are built of: step sizes, acceptance, noise, gradients, walls."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from noneq.covariance import Diagonal, Factor, Identity
from noneq.energies import Energy, faulty, slope
from noneq.kernels.base import Info, State, where
from noneq.spaces import Box, Space, model_name

__all__ = [
    "Adjustable", "Stepped", "gradient", "metropolis", "normal_like", "walls", "with_gradient",
]  # fmt: skip


class Stepped:
    """What kernels have in common: a step size ``h``, a ``factor``, an acceptance to follow.

    A frozen dataclass that derives from it has those it names as fields; the others' methods
    return the kernel itself. ``goal`` and ``rate`` are fields of kernels that accept and reject.
    """

    def __post_init__(self) -> None:
        h = getattr(self, "h", 1.0)
        if not (math.isfinite(h) and h > 0):
            raise ValueError(f"the step size h must be positive and finite, got {h}")

    def tune(self, info: Info) -> Self:
        """``h <- h exp(rate (accept - goal))``; itself, if no acceptance was observed."""
        if "accept" not in info or not self._has("h", "goal", "rate"):
            return self
        own: Any = self
        return self.scaled(math.exp(own.rate * (float(info["accept"]) - own.goal)))

    def scaled(self, by: float) -> Self:
        """Step size ``by h``."""
        own: Any = self
        return self._with(h=own.h * by) if self._has("h") else self

    def preconditioned(self, factor: Factor) -> Self:
        """The same with another root of the preconditioner."""
        return self._with(factor=factor) if self._has("factor") else self

    def _has(self, *names: str) -> bool:
        return all(hasattr(self, name) for name in names)

    def _with(self, **changes: Any) -> Self:
        new: Self = replace(self, **changes)  # type: ignore[type-var]
        return new


class Adjustable(Stepped):
    """A kernel that accepts or rejects if ``adjusted``; else its increment is the weight."""

    adjusted: bool

    @property
    def fresh(self) -> bool:
        """Stale states are welcome unless proposals are rejected."""
        return self.adjusted

    def tune(self, info: Info) -> Self:
        """Follow the acceptance to the goal; itself, if none was observed or there is none."""
        return super().tune(info) if self.adjusted else self


def metropolis(
    old: State, new: State, log_ratio: Tensor, rng: torch.Generator
) -> tuple[State, Tensor, Info]:
    """Accept with probability ``min(1, e^r)`` (Metropolis et al. 1953; Hastings 1970): no weight.

    Where r is the fresh increment of an unadjusted move from old to new, and the move back has
    the same form, this leaves the model invariant. Non-finite energies are rejected; those that
    are NaN or -inf, which no energy should be, are counted (``info["fault"]``, their share).

    Arguments:
        old: the state, evaluated under the model; where a rejection leads.
        new: the proposal, evaluated under the model.
        log_ratio: r (N,).
        rng: source of randomness.
    """
    uniform = torch.rand(
        log_ratio.shape, generator=rng, dtype=log_ratio.dtype, device=log_ratio.device
    )
    # the ratio is NaN or -inf where the energy is NaN or +inf; -inf is a fault, not a mode
    fault = faulty(new.u)
    accept = (uniform.log_() < log_ratio) & ~fault
    info = {"accept": _share(accept), "fault": _share(fault)}
    return where(accept, new, old), torch.zeros_like(log_ratio), info


def _share(which: Tensor) -> Tensor:
    """Of the walkers (N,) for which it is true."""
    return which.mean(dtype=torch.float32)


def normal_like(x: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal noise of x's shape, dtype and device."""
    return torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)


def walls(reflect: bool, space: Space, factor: Factor) -> Box | None:
    """The box to bounce off, if there is one and the kernel reflects.

    A reflection turns steps of covariance ``M`` into steps of covariance ``S M S``, S a diagonal
    of signs: the way back is as likely only if M is diagonal. ValueError for other factors.
    """
    if not (reflect and isinstance(space, Box)):
        return None
    if not isinstance(factor, Identity | Diagonal):
        raise ValueError(
            "reflection at the walls of a box needs a diagonal preconditioner, got "
            f"{type(factor).__name__}; take Diagonal (of a pilot, precondition='diagonal'), or "
            "reflect=False"
        )
    return space


def gradient(model: Energy, state: State) -> Tensor:
    """``g = dU/dx``, the state's own or the model's; ValueError where there is none."""
    g = slope(model, state.x, state.cache)
    if g is None:
        raise ValueError(
            f"this kernel follows dU/dx, which the energy, a {model_name(model)}, does not "
            "have; take noneq.RandomWalk, or noneq.BlockGibbs for discrete variables"
        )
    return g


def with_gradient(model: Energy, state: State) -> State:
    """The state with its `gradient` in the cache, for whatever comes next."""
    return state._replace(cache={**state.cache, "g": gradient(model, state)})
