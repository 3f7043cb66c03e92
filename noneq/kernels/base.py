r"""What a transition kernel is: a state in, a state and a log-weight increment out.

A kernel is called as ``kernel(model, state, rng) -> (state, dlog_w, info)``. The increment is

    ``log [exp(-U'(y)) q_back(y -> x)] - log [exp(-U(x)) q_fwd(x -> y)]``

with U the energy the state was last seen under (``state.u``: the one its log-weight already
includes) and U' the model given. It is 0 for a kernel that leaves the model invariant, and then
the state must have been evaluated under that model: such kernels say ``fresh = True``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from noneq.energies import Cache, Diagonal, Energy, Factor, Identity, gradient
from noneq.energies.base import is_invalid
from noneq.numerics import parts
from noneq.spaces import Box, Space, model_name

__all__ = [
    "Adjustable",
    "Info",
    "Kernel",
    "Observed",
    "State",
    "Stepped",
    "apply_in_parts",
    "each",
    "gradient",
    "metropolis",
    "name",
    "put",
    "transports",
    "walls",
    "where",
    "with_gradient",
]

#: what a kernel observed, e.g. ``{"accept": mean acceptance}``; 0-d tensors, never synchronised
Info = dict[str, Tensor]
#: the same, as it is or read from the device
Observed = Mapping[str, Tensor | float]


class State(NamedTuple):
    """Walkers as a kernel sees them; every tensor has the walkers along its first dimension."""

    x: Tensor
    """positions (N, *shape)"""
    u: Tensor
    """(N,): the energy last seen, perhaps of an older model: that is the point"""
    cache: Cache
    """functions of (model last seen, x), e.g. ``g``; replaced whole at each evaluation"""
    aux: Cache
    """coordinates the energy ignores, e.g. momentum; kept at an evaluation"""


def each(f: Callable[..., Tensor], state: State, *others: State) -> State:
    """Apply f to every tensor of the state: gather, scatter, select and resample are one rule."""

    def on(a: Cache, *b: Cache) -> Cache:
        return {key: f(value, *(other[key] for other in b)) for key, value in a.items()}

    return State(
        f(state.x, *(o.x for o in others)),
        f(state.u, *(o.u for o in others)),
        on(state.cache, *(o.cache for o in others)),
        on(state.aux, *(o.aux for o in others)),
    )


def where(accept: Tensor, new: State, old: State) -> State:
    """Row by row ``new`` where accept (N,) is true, else ``old``; new's positions are reused."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        out = a if a is new.x else None  # the kernel's own, unlike what a model returned
        return torch.where(accept.view(-1, *[1] * (a.dim() - 1)), a, b, out=out)

    # a gradient that only one of them has can be asked for again
    shared = {key: value for key, value in new.cache.items() if key in old.cache}
    return each(pick, new._replace(cache=shared), old)


def put(whole: State, index: Tensor, part: State) -> State:
    """``whole`` with the walkers at ``index`` (1-d) replaced by ``part``.

    What only one of the two has in its cache or in ``aux`` is dropped.
    """

    def both(a: Cache, b: Cache) -> Cache:
        return {key: a[key] for key in b if key in a}

    cache, aux = both(whole.cache, part.cache), both(whole.aux, part.aux)
    shared = State(whole.x, whole.u, cache, aux)
    return each(lambda a, b: a.index_copy(0, index, b), shared, part)


class Kernel(Protocol):
    """A transition kernel; kernels are immutable and know nothing of the model."""

    @property
    def fresh(self) -> bool:
        """Whether the state must have been evaluated under the model that is passed."""

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator, /
    ) -> tuple[State, Tensor, Info]:
        """One transition: the new state, the log-weight increment (N,), what was observed."""

    def adapt(self, info: Observed, /) -> Self:
        """A kernel adapted to what was observed (itself, if it has nothing to adapt)."""

    def scaled(self, by: float, /) -> Self:
        """A kernel whose steps are ``by`` times as long (itself, if it has no step size)."""

    def preconditioned(self, factor: Factor, /) -> Self:
        """A kernel with root ``factor`` of the preconditioner (itself, if it has none)."""


def apply_in_parts(
    kernel: Kernel, model: Energy, state: State, rng: torch.Generator
) -> tuple[State, Tensor, Info]:
    """Apply the kernel to parts of the walkers in turn, which bounds its working memory.

    A kernel moves every walker by itself, so that parts change nothing but the noise's order.
    """
    n, slices = len(state.x), parts(state.x)
    if len(slices) == 1:
        return kernel(model, state, rng)
    whole: State | None = None
    increments, infos = [], []
    for at in slices:
        new, increment, info = kernel(model, each(lambda t: t[at], state), rng)  # noqa: B023
        whole = whole or each(lambda t: t.new_empty(n, *t.shape[1:]), new)
        each(lambda w, t: w[at].copy_(t), whole, new)  # noqa: B023
        increments.append(increment)
        infos.append({key: value * len(increment) / n for key, value in info.items()})
    assert whole is not None
    total = {key: torch.stack([info[key] for info in infos]).sum() for key in infos[0]}
    return whole, torch.cat(increments), total


def transports(kernel: Kernel) -> bool:
    """Whether it carries walkers from the energy last seen to the one given.

    Other kernels move under one energy, and walkers are reweighted to it before.
    """
    return bool(getattr(kernel, "transports", False))


def name(kernel: Kernel) -> str:
    """A kernel's class and, of `Repeat` and `Chain`, what they are made of."""
    inner = [getattr(kernel, "kernel", None), *getattr(kernel, "kernels", ())]
    parts = ", ".join(name(part) for part in inner if part is not None)
    return type(kernel).__name__ + (f"({parts})" if parts else "")


class Stepped:
    """What kernels have in common: a step size ``h``, a ``factor``, an acceptance to follow.

    A frozen dataclass that derives from it has those it names as fields; the others' methods
    return the kernel itself. ``target_accept`` and ``rate`` are fields of kernels that accept and
    reject.
    """

    def __post_init__(self) -> None:
        h = getattr(self, "h", 1.0)
        if not (math.isfinite(h) and h > 0):
            raise ValueError(f"the step size h must be positive and finite, got {h}")

    def adapt(self, info: Observed) -> Self:
        """``h <- h exp(rate (accept - target_accept))``; itself, if no acceptance was observed."""
        if "accept" not in info or not self._has("h", "target_accept", "rate"):
            return self
        own: Any = self
        return self.scaled(math.exp(own.rate * (float(info["accept"]) - own.target_accept)))

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

    def adapt(self, info: Observed) -> Self:
        """Follow the acceptance to the goal; itself, if none was observed or there is none."""
        return super().adapt(info) if self.adjusted else self


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
    fault = is_invalid(new.u)
    accept = (uniform.log_() < log_ratio) & ~fault
    info = {"accept": _share(accept), "fault": _share(fault)}
    return where(accept, new, old), torch.zeros_like(log_ratio), info


def _share(which: Tensor) -> Tensor:
    """Of the walkers (N,) for which it is true."""
    return which.mean(dtype=torch.float32)


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


def required_gradient(model: Energy, state: State) -> Tensor:
    """``g = dU/dx``, the state's own or the model's; ValueError where there is none."""
    g = gradient(model, state.x, state.cache)
    if g is None:
        raise ValueError(
            f"this kernel follows dU/dx, which the energy, a {model_name(model)}, does not "
            "have; take noneq.kernels.RandomWalk, or noneq.kernels.BlockGibbs for discrete "
            "variables"
        )
    return g


def with_gradient(model: Energy, state: State) -> State:
    """The state with its `gradient` in the cache, for whatever comes next."""
    return state._replace(cache={**state.cache, "g": required_gradient(model, state)})
