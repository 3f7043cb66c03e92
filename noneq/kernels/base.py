"""The protocol of transition kernels, and functions that the kernels of this package share.

A kernel is called as ``kernel(model, state, rng) -> (state, dlog_w, info)``. It adds the increment
dlog_w to the log-weight of each walker (weighted sample) that it moves from x to y:

    ``log [exp(-U'(y)) q_back(y -> x)] - log [exp(-U(x)) q_fwd(x -> y)]``

U is the energy of the state's last evaluation (``state.u``), U' the model; where they differ the
state is stale, else fresh. Kernels that leave the model invariant (increment 0) need it fresh.
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

Info = dict[str, Tensor]
"""Observations of one move, of each walker (N,) or of all, 0-d; e.g. "accept" is 1.0 or 0.0."""
Observed = Mapping[str, Tensor | float]
"""Observations of a move, of each walker or averaged, as tensors or as Python numbers."""


class State(NamedTuple):
    """Holds N walkers (weighted samples) as kernels see them; all tensors have N rows.

    Attributes:
        x: positions (N, *shape).
        u: energies (N,) under the model of the last evaluation.
        cache: tensors that this evaluation computed at x, e.g. the gradient "g" (N, *shape).
        aux: tensors beside x on which the energy does not depend, e.g. a momentum.
    """

    x: Tensor
    u: Tensor
    cache: Cache
    aux: Cache


def each(f: Callable[..., Tensor], state: State, *others: State) -> State:
    """Apply a function f to every tensor of a state (with ``others``: to one tensor of each).

    Returns:
        A state that holds the results.
    """

    def on(a: Cache, *b: Cache) -> Cache:
        return {key: f(value, *(other[key] for other in b)) for key, value in a.items()}

    return State(
        f(state.x, *(o.x for o in others)),
        f(state.u, *(o.u for o in others)),
        on(state.cache, *(o.cache for o in others)),
        on(state.aux, *(o.aux for o in others)),
    )


def where(accept: Tensor, new: State, old: State) -> State:
    """Combine two states: walkers of ``new`` where accept (N,) is true, else those of ``old``.

    Returns:
        The state, in the memory of ``new.x``, with those entries of the cache that both have.
    """

    def pick(a: Tensor, b: Tensor) -> Tensor:
        out = a if a is new.x else None  # the kernel's own memory, unlike what a model returned
        return torch.where(accept.view(-1, *[1] * (a.dim() - 1)), a, b, out=out)

    shared = {key: value for key, value in new.cache.items() if key in old.cache}
    return each(pick, new._replace(cache=shared), old)


def put(whole: State, index: Tensor, part: State) -> State:
    """Replace walkers of a state ``whole``, at the indices ``index`` (n,), by those of ``part``.

    Returns:
        The new state, with those entries of ``cache`` and ``aux`` that both states have.
    """

    def both(a: Cache, b: Cache) -> Cache:
        return {key: a[key] for key in b if key in a}

    cache, aux = both(whole.cache, part.cache), both(whole.aux, part.aux)
    shared = State(whole.x, whole.u, cache, aux)
    return each(lambda a, b: a.index_copy(0, index, b), shared, part)


class Kernel(Protocol):
    """A kernel moves walkers (weighted samples) under a model, an energy passed at each call."""

    @property
    def fresh(self) -> bool:
        """Whether the state must be fresh: last evaluated under the model that is passed."""

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator, /
    ) -> tuple[State, Tensor, Info]:
        """Move N walkers; return their state, log-weight increments (N,) and observations."""

    def adapt(self, info: Observed, /) -> Self:
        """Return a kernel with adapted step size, given observations such as the acceptance."""

    def scaled(self, by: float, /) -> Self:
        """Return a kernel with its step size times ``by``, or itself if it has no step size."""

    def preconditioned(self, factor: Factor, /) -> Self:
        """Return a kernel with the preconditioner ``L L^T``, L = ``factor``, if it takes one."""


def apply_in_parts(
    kernel: Kernel, model: Energy, state: State, rng: torch.Generator
) -> tuple[State, Tensor, Info]:
    """Apply a kernel to parts of the walkers one after the other, to bound its working memory.

    Returns:
        The new state, log-weight increments (N,) and observations of all N walkers.
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
        infos.append({key: value.expand(len(increment)) for key, value in info.items()})
    assert whole is not None
    observed = {key: torch.cat([info[key] for info in infos]) for key in infos[0]}
    return whole, torch.cat(increments), observed


def transports(kernel: Kernel) -> bool:
    """Return whether a kernel is a transport, which carries samples from one energy to another.

    Returns:
        True for a transport; False for a kernel that moves under one energy, as MALA does.
    """
    return bool(getattr(kernel, "transports", False))


def name(kernel: Kernel) -> str:
    """Return the name of a kernel's class, for a `Repeat` or a `Chain` with those of its parts.

    Returns:
        The name, e.g. "Repeat(MALA)".
    """
    inner = [getattr(kernel, "kernel", None), *getattr(kernel, "kernels", ())]
    parts = ", ".join(name(part) for part in inner if part is not None)
    return type(kernel).__name__ + (f"({parts})" if parts else "")


class Stepped:
    """Base class of kernels with a step size ``h`` or a preconditioner ``factor``.

    A subclass is a frozen dataclass with one or both fields; for `adapt` it also has the fields
    ``target_accept`` and ``rate``. A method whose fields are missing returns the kernel itself.
    """

    def __post_init__(self) -> None:
        h = getattr(self, "h", 1.0)
        if not (math.isfinite(h) and h > 0):
            raise ValueError(f"the step size h must be positive and finite, got {h}")

    def adapt(self, info: Observed) -> Self:
        """Return the kernel with step size ``h exp(rate (info["accept"] - target_accept))``."""
        if "accept" not in info or not self._has("h", "target_accept", "rate"):
            return self
        own: Any = self
        accept = info["accept"]
        mean = float(accept.mean() if isinstance(accept, Tensor) else accept)
        return self.scaled(math.exp(own.rate * (mean - own.target_accept)))

    def scaled(self, by: float) -> Self:
        """Return the kernel with its step size h multiplied by ``by``."""
        own: Any = self
        return self._with(h=own.h * by) if self._has("h") else self

    def preconditioned(self, factor: Factor) -> Self:
        """Return the kernel with another square root ``factor`` of its preconditioner."""
        return self._with(factor=factor) if self._has("factor") else self

    def _has(self, *names: str) -> bool:
        return all(hasattr(self, name) for name in names)

    def _with(self, **changes: Any) -> Self:
        new: Self = replace(self, **changes)  # type: ignore[type-var]
        return new


class Adjustable(Stepped):
    """Base class of kernels that accept or reject if ``adjusted``, and else weight their moves."""

    adjusted: bool

    @property
    def fresh(self) -> bool:
        """Whether walkers must be evaluated under the model before a move: if ``adjusted``."""
        return self.adjusted

    def adapt(self, info: Observed) -> Self:
        """Return the kernel with step size adapted to the acceptance; itself if unadjusted."""
        return super().adapt(info) if self.adjusted else self


def metropolis(
    old: State, new: State, log_ratio: Tensor, rng: torch.Generator
) -> tuple[State, Tensor, Info]:
    """Accept proposals with probability ``min(1, e^r)``; the log-weight increment is 0.

    For ``r = U(x) - U(y) + log q(y -> x) - log q(x -> y)``, with proposals y drawn from q, this
    leaves the model invariant (Metropolis et al. 1953; Hastings 1970).

    Arguments:
        old: state of the N walkers at x, evaluated under the model; kept where rejected.
        new: state at y, evaluated under the model; a non-finite energy is rejected.
        log_ratio: log acceptance ratio r (N,).
        rng: source of randomness.

    Returns:
        The new state, log-weight increments of zero (N,), and as observations (N,) whether each
        proposal was accepted ("accept") and whether its energy was invalid, NaN or -inf
        ("fault"), 1.0 or 0.0.
    """
    uniform = torch.rand(
        log_ratio.shape, generator=rng, dtype=log_ratio.dtype, device=log_ratio.device
    )
    # the ratio is NaN or -inf where the energy is NaN or +inf; an energy of -inf is a fault
    fault = is_invalid(new.u)
    accept = (uniform.log_() < log_ratio) & ~fault
    info = {"accept": accept.float(), "fault": fault.float()}
    return where(accept, new, old), torch.zeros_like(log_ratio), info


def walls(reflect: bool, space: Space, factor: Factor) -> Box | None:
    """Return the box at whose walls a kernel reflects, ValueError if ``L L^T`` is not diagonal.

    Returns:
        The box, or None where the space is no box or ``reflect`` is false. A reflection S turns
        the covariance M = L L^T of steps, L = ``factor``, into S M S, which is M if M is diagonal.
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
    """Return ``g = dU/dx`` from the cache or by the model; raise ValueError without one."""
    g = gradient(model, state.x, state.cache)
    if g is None:
        raise ValueError(
            f"this kernel follows dU/dx, which the energy, a {model_name(model)}, does not have; "
            "take noneq.kernels.RandomWalk, or noneq.kernels.BlockGibbs for discrete variables"
        )
    return g


def with_gradient(model: Energy, state: State) -> State:
    """Put the gradient ``g = dU/dx`` into the cache of a state; raise ValueError without one.

    Returns:
        The state with the gradient (N, *shape) as the entry "g" of its cache.
    """
    return state._replace(cache={**state.cache, "g": required_gradient(model, state)})
