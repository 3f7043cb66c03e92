r"""Energies: ``U: (B, *shape) -> (B,)`` defines the model ``rho = exp(-U) / Z``.

Any callable of that signature is an energy; nothing has to be subclassed. What an energy may offer
besides: ``sample(n, rng)`` and ``log_z()`` where both are exact (such a model can start walkers),
and its own ``evaluate(x, previous_cache, graph)`` where the energy and its gradient come cheaper
than by automatic differentiation.

`evaluate` is the only place that calls an energy on walkers. It returns ``(u, cache)``: ``u``
the energies (B,), ``cache`` per-walker tensors that are functions of (energy, x), ``g = dU/dx``
where it has one. An energy whose gradient costs extra leaves it out of its own cache and offers
``gradient(x, cache)``: then only kernels that follow g pay for it (`slope`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from noneq.numerics import parts, without_autocast

__all__ = [
    "Cache",
    "Conditional",
    "Drifted",
    "Energy",
    "Solvable",
    "check_beta",
    "evaluate",
    "gradient",
    "is_invalid",
    "shape_message",
]

Cache = dict[str, Tensor]


class Energy(Protocol):
    """Any callable ``(B, *shape) -> (B,)``, lower where the data are."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Energies (B,) of the rows of x."""


@runtime_checkable
class Solvable(Protocol):
    """An energy whose normalising constant and samples are exact: walkers start here."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Energies (B,)."""

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n exact, independent samples (n, *shape)."""

    def log_z(self) -> float:
        """``log of the integral of exp(-U)``."""


def evaluate(
    model: Energy,
    x: Tensor,
    previous_cache: Mapping[str, Tensor] | None = None,
    *,
    graph: bool = False,
    skip_gradient: bool = False,
) -> tuple[Tensor, Cache]:
    """Energies and their cache ``{"g": dU/dx, ...}`` at the rows of x.

    Arguments:
        model: the energy; its own ``evaluate(x, previous_cache, graph)`` is used where it has one.
        x: positions (B, *shape).
        previous_cache: the cache of the same x under the same end models, or None; an annealed
            energy that only changed its temperature then evaluates nothing.
        graph: keep the graph from the parameters to ``u``, so that a loss of u can be
            differentiated. Without it everything returned is detached.
        skip_gradient: leave out ``g`` where the energy offers it apart (`gradient`).

    Automatic mixed precision is switched off inside: weights are differences of energies. Without
    a graph a large x is taken in parts of ``PART`` numbers, to bound the memory of activations.
    """
    if "torch._dynamo" in sys.modules:
        _keep_buffers()
    if torch.is_autocast_enabled(x.device.type):
        with without_autocast(x):
            return evaluate(model, x, previous_cache, graph=graph, skip_gradient=skip_gradient)
    if not graph and len(parts(x)) > 1:
        return _in_parts(model, x, previous_cache, skip_gradient)
    own = getattr(model, "evaluate", None)
    if own is not None:
        u, cache = own(x, previous_cache, graph)
        g = None if skip_gradient else gradient(model, x, cache)
        return u, cache if g is None else {**cache, "g": g}
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        u = model(leaf)
        if u.shape != x.shape[:1]:
            raise ValueError(shape_message(model, u, x))
        g = None
        if u.requires_grad:
            (g,) = torch.autograd.grad(u.sum(), leaf, retain_graph=graph, allow_unused=True)
        leaf.requires_grad_(False)  # or the loss's backward would fill leaf.grad for nobody
    # without a gradient it is an energy all the same: kernels that follow one will say so
    return (u if graph else u.detach()), {} if g is None else {"g": g}


@lru_cache(maxsize=1)
def _keep_buffers() -> None:
    """Let networks that torch.compile makes be differentiated twice: to x, then in a loss.

    A switch of the process, without which a backward gives its graph's memory away.
    """
    from torch._functorch import config

    config.donated_buffer = False


def gradient(model: Energy, x: Tensor, cache: Cache) -> Tensor | None:
    """``dU/dx`` at x, whose cache this model made: from there, or by its own ``gradient``.

    None where there is none. The cache must be of the model's present parameters.
    """
    own = getattr(model, "gradient", None)
    if "g" in cache or own is None:
        return cache.get("g")
    with without_autocast(x):  # a kernel asks outside of `evaluate`
        found: Tensor | None = own(x, cache)
    return found


def _in_parts(
    model: Energy, x: Tensor, previous_cache: Mapping[str, Tensor] | None, skip_gradient: bool
) -> tuple[Tensor, Cache]:
    whole: Cache = {}
    for at in parts(x):
        old = (
            None
            if previous_cache is None
            else {key: value[at] for key, value in previous_cache.items()}
        )
        u, cache = evaluate(model, x[at], old, skip_gradient=skip_gradient)
        for key, value in {"": u, **cache}.items():
            if key not in whole:
                whole[key] = value.new_empty(len(x), *value.shape[1:])
            whole[key][at] = value
    return whole.pop(""), whole


def is_invalid(u: Tensor) -> Tensor:
    """Where u is NaN or -inf, which no energy is; +inf is one: of a place that is forbidden."""
    return ~(u > -math.inf)


def check_beta(beta: float, name: str = "beta") -> None:
    """Raise ValueError for what is no place on a path, from 0 at its start to 1 at its end."""
    if not 0 <= beta <= 1:
        raise ValueError(f"{name} is in [0, 1], got {beta}")


def shape_message(model: object, u: object, x: Tensor) -> str:
    """What to say to an energy that does not return one number a row."""
    name = type(model).__name__
    if not isinstance(u, Tensor):
        return f"{name} returned {type(u).__name__}; expected a tensor of {len(x)} energies"
    hint = "return net(x).squeeze(-1)" if u.dim() == 2 else "one energy per row, not their sum"
    return (
        f"{name} returned shape {tuple(u.shape)} for {len(x)} rows; expected ({len(x)},): {hint}"
    )


@runtime_checkable
class Conditional(Protocol):
    """An energy that can draw from its own conditional distributions."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Energies (B,)."""

    def gibbs(self, x: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:
        """One sweep from x, whose cache this energy made: new positions, x untouched.

        It leaves the model invariant: each block is drawn given all others, in any fixed order.
        For `noneq.likelihood.bennett` it must be its own mirror image besides: a sweep of two
        layers is, where one of them is summed out, and one over many blocks that goes there and
        back.
        """


@runtime_checkable
class Drifted(Protocol):
    """An energy at time ``beta`` of a path that carries walkers along: transports lead there."""

    beta: float

    def __call__(self, x: Tensor, /) -> Tensor:
        """Energies (B,)."""

    def drift(self, x: Tensor, t: float) -> Tensor:
        """The path's velocity b(x, t), (B, *shape), at any time t in [0, 1]."""
