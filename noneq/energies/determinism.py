"""Checks that an energy is a deterministic function of each row alone.

`check_energy` evaluates a few rows in several ways and raises an error for each kind of fault,
with a remedy; `unsteady` evaluates two rows many times, to find rare randomness.
"""

from __future__ import annotations

import math
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from noneq.energies.base import Cache, Energy, evaluate, is_invalid, shape_message
from noneq.spaces import Discrete, space_of

__all__ = ["check_energy", "unsteady"]

OFTEN = 8  # further evaluations, of two rows each
REMEDY = "use model.eval(), or a network without it"


def check_energy(model: Energy, x: Tensor) -> None:
    """Check that an energy is a deterministic, differentiable function of each row alone.

    Importance weights are differences of energies, so ``U(x)`` must be the same number when it is
    evaluated twice, in another batch and in another order. Batch normalisation in training mode,
    dropout, the power iteration of spectral normalisation, autocast, and energies that depend on
    the index of a row in the batch break this, and none of them shows in the loss. Each row is
    evaluated a few times only: randomness in one evaluation of a hundred may be missed.

    Arguments:
        model: energy.
        x: rows (M, *shape), e.g. some data.

    Raises:
        ValueError: the model returns another shape than (M,), computes in less than float32,
            returns NaN or -inf, changes x in place, gives a row an energy that depends on anything
            but the row, is not differentiable in a continuous x, or has a method ``evaluate``
            whose results differ from those of a call.

    >>> x = torch.randn(8, 3)
    >>> check_energy(nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), x)
    >>> check_energy(nn.Sequential(nn.Dropout(), nn.Linear(3, 1), nn.Flatten(0)), x)
    Traceback (most recent call last):
        ...
    ValueError: Sequential holds Dropout (0): dropout, ...
    """
    name, few, kept = type(model).__name__, min(8, (len(x) + 1) // 2), x.clone()
    layer = _unsteady_layer(model)
    if layer is not None:
        raise ValueError(
            f"{name} holds {layer}: dropout, batch normalisation in training mode and spectral "
            f"normalisation give the same row another energy when asked twice; {REMEDY}"
        )
    try:
        asked = _Asked.of(model, x, few)
    except Exception as error:  # any error of a user's network on these rows
        rows = f"rows of shape {tuple(x.shape[1:])} and {x.dtype}"
        raise ValueError(f"{name} cannot take {rows}: {error}") from error
    _check_values(model, x, asked)
    if not torch.equal(x, kept):
        raise ValueError(f"{name} changes x in place: work on a copy, x.clone()")
    _check_finite(name, asked.u)
    _check_same_energies(name, asked)
    _check_same_gradients(model, x, few)
    _check_gradient(model, x[:2], asked.u[:2])


def unsteady(model: Energy, x: Tensor, u: Tensor, *, calls: int = 256) -> str | None:
    """Report an energy that returns different numbers for the same rows in repeated evaluations.

    Arguments:
        model: energy.
        x: rows (M, *shape), e.g. samples at the end of an annealing run.
        u: energies (M,) of the rows as evaluated earlier.
        calls: number of further evaluations, of two rows each; a fault in one evaluation of a
            hundred is found with probability 0.92 by the default.

    Returns:
        A message with a remedy, or None if all evaluations agree.
    """
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        asked = [(u, model(x)), *((u[:2], model(x[:2])) for _ in range(calls))]
    wrong = 0
    for was, now in asked:
        apart = _apart(was.double(), now.double())
        wrong += bool((apart > 1e-3 * (1 + was.double().abs().nan_to_num(0.0, 0.0, 0.0))).any())
    if not wrong:
        return None
    return (
        f"the energy is another number when asked again ({wrong} of {len(asked)} times, of the "
        "same rows): it is random, or depends on what was asked before, and no log Z is its own; "
        "take random numbers and memories out of it"
    )


class _Precision(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records a precision below float32 that any operation returns."""

    half: torch.dtype | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for value in found if isinstance(found, list | tuple) else (found,):
            if isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16):
                self.half = value.dtype
        return found


def _eagerly() -> AbstractContextManager[Any]:
    """Return a context in which compiled networks run as they were written."""
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


class _Asked(NamedTuple):
    """Holds energies of the same rows, evaluated in all the ways that must make no difference."""

    u: Tensor
    half: torch.dtype | None
    """precision below float32 that an operation returned, or None"""
    again: Tensor
    part: Tensor
    """energies of the first rows in a smaller batch"""
    turned: Tensor
    """energies of the rows in reverse order"""
    often: list[Tensor]
    """energies of the first two rows, several times"""

    @classmethod
    @torch.no_grad()
    def of(cls, model: Energy, x: Tensor, few: int) -> _Asked:
        precision = _Precision()  # type: ignore[no-untyped-call]
        with _eagerly(), precision:
            u = model(x)
        again, part, turned = model(x), model(x[:few]), model(x.flip(0))
        often = [model(x[:2]) for _ in range(OFTEN)]
        return cls(u, precision.half, again, part, turned, often)


def _unsteady_layer(model: Energy) -> str | None:
    """Return the name of a layer that changes U(x) at every call, even if f = 0 hides it now."""
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        hooks = module._forward_pre_hooks.values()
        kinds = [type(module).__name__, *(type(hook).__name__ for hook in hooks)]
        found = [k for k in kinds if "Dropout" in k or "BatchNorm" in k or "SpectralNorm" in k]
        if module.training and found and getattr(module, "p", 1.0) != 0:
            return f"{found[0].lstrip('_')} ({name})"
    return None


def _check_values(model: Energy, x: Tensor, asked: _Asked) -> None:
    """Check that there is one number for each row, computed in at least 32 bits."""
    name, u = type(model).__name__, asked.u
    if not isinstance(u, Tensor) or u.shape != x.shape[:1]:
        raise ValueError(shape_message(model, u, x))
    if u.dtype not in (torch.float32, torch.float64):
        half = "; switch autocast or .half() off" if u.is_floating_point() else ""
        raise ValueError(
            f"{name} returned {u.dtype}; energies are floating point, 32 or 64 bits{half}"
        )
    if asked.half is not None:
        raise ValueError(
            f"{name} computes in {asked.half} inside, though it returns {u.dtype}: weights "
            "are differences of energies; switch autocast or .half() off, there too"
        )


def _check_finite(name: str, u: Tensor) -> None:
    """Check that no energy is NaN or -inf; +inf is the energy of a forbidden position."""
    bad = is_invalid(u)
    if bool(bad.any()):
        raise ValueError(
            f"{name} returned {'NaN' if bool(u.isnan().any()) else '-inf'} "
            f"on {int(bad.sum())} of {len(u)} rows"
        )


def _check_same_energies(name: str, asked: _Asked) -> None:
    """Check that energies do not depend on the time, the batch or the order of calls."""
    u = asked.u
    finite = torch.isfinite(u)
    scale = 1 + float(u[finite].abs().max()) if bool(finite.any()) else 1.0
    for other, tolerance, when in (
        (asked.again, 1e-6, "when asked twice"),
        (asked.part, 1e-4, "in another batch"),
        *((one, 1e-4, "when asked often") for one in asked.often),
        (asked.turned.flip(0), 1e-4, "in another order of the rows"),
    ):
        apart = float(_apart(u[: len(other)], other).max())
        if apart > tolerance * scale:
            raise ValueError(
                f"{name} gives the same row another energy {when} (by {apart:.2g}): "
                f"batch normalisation, dropout, spectral normalisation, autocast, random numbers "
                f"or labels bound to places; {REMEDY}"
            )


def _check_same_gradients(model: Energy, x: Tensor, few: int) -> None:
    """Check that gradients to the parameters do not depend on that either: f = 0 hides it in U."""
    first, last = slice(few), slice(len(x) - few, None)
    slope, again, part = (_slope(model, rows, first) for rows in (x, x, x[:few]))
    turned = _slope(model, x.flip(0), last)
    for other, when in (
        (again, "when asked twice"),
        (part, "in another batch"),
        (turned, "in another order of the rows"),
    ):
        change = (other - slope).abs()
        if len(change) and float(change.max()) > 1e-4 * (1 + float(slope.abs().max())):
            raise ValueError(
                f"{type(model).__name__} has another gradient to its parameters {when}: batch "
                f"normalisation, dropout, spectral normalisation or autocast; {REMEDY}"
            )


def _check_gradient(model: Energy, x: Tensor, u: Tensor) -> None:
    """Check that the gradient to x is finite, and that an own ``evaluate`` agrees with it."""
    name = type(model).__name__
    evaluated, cache = evaluate(model, x)
    if "g" not in cache:
        if isinstance(space_of(model), Discrete):
            return
        raise ValueError(
            f"{name} carries no gradient to x: it detaches, rounds or does not depend on x"
        )
    _check_own_evaluation(model, x, evaluated, cache)
    if not bool(torch.isfinite(cache["g"][torch.isfinite(u)]).all()):
        raise ValueError(f"{name} has a gradient that is not finite at the data")


def _slope(model: Energy, x: Tensor, rows: slice) -> Tensor:
    """Return the gradient of the total energy of some rows with respect to the parameters."""
    own = model.parameters() if isinstance(model, nn.Module) else ()
    wanted = [p for p in own if p.requires_grad]
    with torch.enable_grad():
        u = model(x)[rows]
        total = u[torch.isfinite(u)].sum()
    if not wanted or not total.requires_grad:
        return u.new_zeros(0)
    found = torch.autograd.grad(total, wanted, allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None] or [u.new_zeros(0)])


def _check_own_evaluation(model: Energy, x: Tensor, u: Tensor, cache: Cache) -> None:
    """Check that forward, which is given data, and ``evaluate``, which is given walkers, agree."""
    if not hasattr(model, "evaluate"):
        return
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        v = model(leaf)
    pairs = [("energy", u, v.detach())]
    if v.requires_grad:
        pairs += [("g", cache["g"], torch.autograd.grad(v.sum(), leaf)[0])]
    for name, *both in pairs:
        own, auto = (t[torch.isfinite(v)] for t in both)
        apart = float((own - auto).abs().max()) if len(own) else 0.0
        if apart > 1e-3 * (1 + float(auto.abs().max()) if len(own) else 1.0):
            raise ValueError(
                f"{type(model).__name__}.evaluate gives another {name} than its forward "
                f"(by {apart:.2g}); where one was overridden, override the other"
            )


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """Return how far energies are apart: 0 where both are infinite, +inf where only one is."""
    return torch.where(a == b, 0.0, (b - a).abs()).nan_to_num(math.inf)
