r"""What a transition kernel is: a state in, a state and a log-weight increment out.

A kernel is called as ``kernel(model, state, rng) -> (state, dlog_w, info)``. The increment is

    ``log [exp(-U'(y)) q_back(y -> x)] - log [exp(-U(x)) q_fwd(x -> y)]``

with U the energy the state was last seen under (``state.u``: the one its log-weight already
includes) and U' the model given. It is 0 for a kernel that leaves the model invariant, and then
the state must have been evaluated under that model: such kernels say ``fresh = True``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from noneq.covariance import Factor
from noneq.energies import Cache, Energy, parts

__all__ = ["Info", "Kernel", "State", "apply_in_parts", "each", "name", "transports", "where"]

#: what a kernel observed, e.g. ``{"accept": mean acceptance}``; 0-d tensors, never synchronised
Info = dict[str, Tensor]


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


class Kernel(Protocol):
    """A transition kernel; kernels are immutable and know nothing of the model."""

    @property
    def fresh(self) -> bool:
        """Whether the state must have been evaluated under the model that is passed."""

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator, /
    ) -> tuple[State, Tensor, Info]:
        """One transition: the new state, the log-weight increment (N,), what was observed."""

    def tune(self, info: Info, /) -> Self:
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
