"""Energies ``U: (B, *shape) -> (B,)``, which define the models ``rho(x) = exp(-U(x)) / Z``.

Any callable with that signature is an energy; no class has to be derived from. An energy may also
have exact methods ``sample(n, rng)`` and ``log_z()`` (`Solvable`: annealing can start from it),
and a method ``evaluate(x, previous_cache, graph)`` that returns energies and their gradient
faster than automatic differentiation does.

`evaluate` is the only function that calls an energy at the positions of samples. It returns ``(u,
cache)``: the energies ``u`` (B,), and a dictionary of tensors with one row for each position,
among them the gradient ``g = dU/dx`` where it exists. An energy whose gradient costs extra may
leave ``g`` out of the cache and have a method ``gradient(x, cache)``: then only kernels that use
the gradient pay for it (see `gradient`).
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
"""Tensors that an evaluation of an energy at positions x (B, *shape) keeps, each with B rows.

They depend on the energy and on x alone; an example is the gradient ``{"g": dU/dx}``. Later steps
use them instead of computing them again.
"""


class Energy(Protocol):
    """An energy is any callable ``(B, *shape) -> (B,)`` that defines a density ``exp(-U(x)) / Z``.

    Here B is the number of positions, and shape is that of one position.
    """

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the energies U (B,) of the rows of x (B, *shape)."""


@runtime_checkable
class Solvable(Protocol):
    """A solvable energy has an exact log Z and exact, independent samples.

    Annealing starts from samples of a solvable energy, which give estimates of log Z their origin.
    """

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the energies U (B,) of the rows of x (B, *shape)."""

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n exact, independent samples (n, *shape).

        Arguments:
            n: number of samples.
            rng: source of randomness.

        Returns:
            The samples (n, *shape).
        """

    def log_z(self) -> float:
        """Return ``log Z`` in nats, where Z is the integral (or sum) of ``exp(-U)``."""


def evaluate(
    model: Energy,
    x: Tensor,
    previous_cache: Mapping[str, Tensor] | None = None,
    *,
    graph: bool = False,
    skip_gradient: bool = False,
) -> tuple[Tensor, Cache]:
    """Evaluate an energy U and its gradient at the rows of x.

    Automatic mixed precision is switched off inside, since weights are differences of energies.
    Without a graph a large x is evaluated in parts of 2^22 numbers, which bounds the memory that
    activations take.

    Arguments:
        model: energy U; its method ``evaluate(x, previous_cache, graph)`` is used where it has
            one, and automatic differentiation elsewhere.
        x: positions (B, *shape).
        previous_cache: cache that an earlier call returned for the same x, by this energy or by
            another of the same annealing path, whose parameters have not changed since; or None.
            On a path, a cache lets the energy at another beta be computed without evaluating the
            two ends of the path again.
        graph: whether to keep the autograd graph from the parameters to the energies, so that a
            loss made of the energies can be differentiated; otherwise all results are detached.
        skip_gradient: whether to leave the gradient out of the cache where the energy has a
            separate method ``gradient`` to compute it later.

    Returns:
        The energies (B,) and the cache, a dictionary of tensors with one row for each row of x:
        the gradient ``g = dU/dx`` (B, *shape), if the energy has one, and whatever tensors the
        energy reuses in later evaluations at the same x.

    Raises:
        ValueError: the energy does not return one number for each row.
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
        leaf.requires_grad_(False)  # else the loss's backward would fill leaf.grad, unused
    # an energy without a gradient is valid: kernels that need the gradient raise an error
    return (u if graph else u.detach()), {} if g is None else {"g": g}


@lru_cache(maxsize=1)
def _keep_buffers() -> None:
    """Let networks compiled by torch.compile be differentiated twice: to x, then in a loss.

    This is a setting of the whole process, without which the first backward pass frees the buffers
    that the second one needs.
    """
    from torch._functorch import config

    config.donated_buffer = False


def gradient(model: Energy, x: Tensor, cache: Cache) -> Tensor | None:
    """Return ``dU/dx`` at positions x from a cache, or by the energy's own method ``gradient``.

    Arguments:
        model: energy U.
        x: positions (B, *shape).
        cache: tensors that `evaluate` returned for x and this energy with its present parameters;
            the entry "g", if there is one, is the gradient.

    Returns:
        The gradient (B, *shape), or None where the energy has none.
    """
    own = getattr(model, "gradient", None)
    if "g" in cache or own is None:
        return cache.get("g")
    with without_autocast(x):  # a kernel calls this outside of `evaluate`
        found: Tensor | None = own(x, cache)
    return found


def _in_parts(
    model: Energy, x: Tensor, previous_cache: Mapping[str, Tensor] | None, skip_gradient: bool
) -> tuple[Tensor, Cache]:
    """Evaluate x in parts that fit into memory, and put the results together."""
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
    """Find energies that are NaN or -inf, values that an energy must not have.

    An energy of +inf is valid: it says that the position has probability zero.

    Arguments:
        u: energies of any shape.

    Returns:
        Booleans of the shape of u, true where the energy is NaN or -inf.
    """
    return ~(u > -math.inf)


def check_beta(beta: float, name: str = "beta") -> None:
    """Raise ValueError unless beta is in [0, 1], as a position on an annealing path is.

    Arguments:
        beta: position on the path, 0 at its start and 1 at its end.
        name: name of the argument in the error message.

    Raises:
        ValueError: beta is outside [0, 1] or NaN.
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"{name} is in [0, 1], got {beta}")


def shape_message(model: object, u: object, x: Tensor) -> str:
    """Compose the error message for an energy that does not return one number for each row.

    Arguments:
        model: energy.
        u: value that the energy returned, of a wrong type or shape.
        x: positions (B, *shape) at which the energy was evaluated.

    Returns:
        The message: what was returned, what was expected, and how to mend it.
    """
    name = type(model).__name__
    if not isinstance(u, Tensor):
        return f"{name} returned {type(u).__name__}; expected a tensor of {len(x)} energies"
    hint = "return net(x).squeeze(-1)" if u.dim() == 2 else "one energy per row, not their sum"
    return (
        f"{name} returned shape {tuple(u.shape)} for {len(x)} rows; expected ({len(x)},): {hint}"
    )


@runtime_checkable
class Conditional(Protocol):
    """A conditional energy can sample its own conditional distributions, as an RBM can.

    It has a method ``gibbs``, by which `noneq.kernels.BlockGibbs` moves samples.
    """

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the energies U (B,) of the rows of x (B, *shape)."""

    def gibbs(self, x: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:
        """Make one Gibbs sweep from positions x, which are left untouched.

        The sweep leaves ``exp(-U)`` invariant: each block of variables is drawn given all others,
        in any fixed order. To estimate log Z by `noneq.likelihood.bennett` the sweep must also be
        reversible. The sweep of an RBM, hidden units given visible ones and then the reverse, is
        reversible; so is a sweep that visits any blocks in one order and then in reverse order.

        Arguments:
            x: positions (B, *shape).
            cache: tensors that `evaluate` returned for x and this energy.
            rng: source of randomness.

        Returns:
            The new positions (B, *shape).
        """


@runtime_checkable
class Drifted(Protocol):
    """An energy with a drift is U(., t) at one time t of a path that has a velocity field b(x, t).

    The kernels `noneq.kernels.Flow` and `noneq.kernels.EulerMaruyama` carry samples along this
    field, from the energy at one time to the energy at another.

    Attributes:
        beta: time t of the energy, in [0, 1].
    """

    beta: float

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the energies U(x, t) (B,) of the rows of x (B, *shape), at the time t = beta."""

    def drift(self, x: Tensor, t: float) -> Tensor:
        """Return the path's velocity b(x, t), shape (B, *shape), at positions x and a time t.

        Arguments:
            x: positions (B, *shape).
            t: any time in [0, 1], not only that of this energy.

        Returns:
            The velocities (B, *shape).
        """
