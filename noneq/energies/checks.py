"""Is this an energy? One clear error for each way it is not."""

from __future__ import annotations

import math
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from noneq.data import check_data, check_rows
from noneq.energies.base import Cache, Energy, evaluate, faulty, shape_message
from noneq.spaces import Discrete, check_inside, space_of

__all__ = ["check_energy", "check_fit", "check_states", "resolution", "unsteady"]

COARSE = 0.03  # nats: a float32 of half a million
OFTEN = 8  # more calls than two, at two rows


def resolution(u: Tensor) -> str | None:
    """What to say of energies u (B,) too large for their precision, a tenth of a nat or so."""
    finite = u[torch.isfinite(u)]
    if not len(finite):
        return None
    largest = float(finite.abs().max())
    step = largest * torch.finfo(u.dtype).eps / 2
    if step < COARSE:
        return None
    return (
        f"energies reach {largest:.2g}, where {str(u.dtype).removeprefix('torch.')} tells no less "
        f"than {step:.2g} nat apart: use float64 (model.double(), data.double()), or subtract a "
        "constant from the energy"
    )


def _unsteady_layer(model: Energy) -> str | None:
    """A layer that makes U(x) another number at every call, though f = 0 may hide it now."""
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        hooks = module._forward_pre_hooks.values()
        kinds = [type(module).__name__, *(type(hook).__name__ for hook in hooks)]
        found = [k for k in kinds if "Dropout" in k or "BatchNorm" in k or "SpectralNorm" in k]
        if module.training and found and getattr(module, "p", 1.0) != 0:
            return f"{found[0].lstrip('_')} ({name})"
    return None


def _slope(model: Energy, x: Tensor, rows: slice) -> Tensor:
    """Gradient of some rows' energies to the parameters: f = 0 hides what it will become."""
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
    """Data are given to the model's forward, walkers to its ``evaluate``: two energies?"""
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


def check_fit(model: Energy, data: Tensor, *, noise: float = 0.0) -> None:
    """Raise unless the energy can be fitted to rows data (M, *shape).

    On R^n and in boxes as `noneq.data.check_data` says. Discrete rows must be states of the model;
    columns may be constant, since probabilities need no spread.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: anything else.
    """
    if not isinstance(space_of(model), Discrete):
        check_data(data, noise=noise)
        return
    check_rows(data, least=2)
    check_states(model, data, noise=noise)


def check_states(model: Energy, data: Tensor, *, noise: float = 0.0) -> None:
    """Raise unless data are rows (M, *shape), and of a discrete model its states, without noise.

    Its formula gives numbers between them, too, which belong to no probability.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: anything else.
    """
    check_rows(data)
    space = space_of(model)
    if isinstance(space, Discrete):
        check_inside(space, data)
        if noise > 0:
            raise ValueError(
                f"discrete rows cannot have noise added, got noise={noise}: leave it 0"
            )


def unsteady(model: Energy, x: Tensor, u: Tensor, *, calls: int = 256) -> str | None:
    """What to say of an energy that is another number when it is asked again, later and often.

    Arguments:
        model: U.
        x: rows (M, *shape), e.g. walkers that have arrived.
        u: their energies (M,) as they were.
        calls: of a few rows each: one in a hundred that goes wrong is seen in 92 of 100 cases.
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


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """How far energies are from each other; 0 where both are infinite, else inf."""
    return torch.where(a == b, 0.0, (b - a).abs()).nan_to_num(math.inf)


class _Precision(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes a precision below float32 that any operation returns."""

    half: torch.dtype | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for value in found if isinstance(found, list | tuple) else (found,):
            if isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16):
                self.half = value.dtype
        return found


def _eagerly() -> AbstractContextManager[Any]:
    """Networks that torch.compile made run as they were written meanwhile."""
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def check_energy(model: Energy, x: Tensor) -> None:
    """Raise unless the model is a deterministic function of each row alone.

    Weights are differences of energies, so ``U(x)`` must be the same number when asked twice, in
    another batch and in another order. Batch normalisation in training mode, dropout, spectral
    normalisation's power iteration, autocast and labels bound to places break that, each without a
    sign in the loss. Where it happens rarely, `unsteady` asks more often.

    Raises:
        ValueError: wrong shape, not float32 or float64, there or inside, NaN or -inf, changes x,
            changes when asked twice, in another batch or in another order, carries no gradient to
            x, or has an ``evaluate`` of its own that differs from its forward.
    """
    name = type(model).__name__
    remedy = "use model.eval(), or a network without it"
    layer = _unsteady_layer(model)
    if layer is not None:
        raise ValueError(
            f"{name} holds {layer}: dropout, batch normalisation in training mode and spectral "
            f"normalisation give the same row another energy when asked twice; {remedy}"
        )
    few = min(8, (len(x) + 1) // 2)
    kept, precision = x.clone(), _Precision()  # type: ignore[no-untyped-call]
    try:
        with torch.no_grad():
            with _eagerly(), precision:
                u = model(x)
            again, part, turned = model(x), model(x[:few]), model(x.flip(0))
            single = [model(x[:2]) for _ in range(OFTEN)]
    except Exception as error:  # whatever it is, it came of these rows
        rows = f"rows of shape {tuple(x.shape[1:])} and {x.dtype}"
        raise ValueError(f"{name} cannot take {rows}: {error}") from error
    if not isinstance(u, Tensor) or u.shape != x.shape[:1]:
        raise ValueError(shape_message(model, u, x))
    if u.dtype not in (torch.float32, torch.float64):
        half = "; switch autocast or .half() off" if u.is_floating_point() else ""
        raise ValueError(
            f"{name} returned {u.dtype}; energies are floating point, 32 or 64 bits{half}"
        )
    if precision.half is not None:
        raise ValueError(
            f"{name} computes in {precision.half} inside, though it returns {u.dtype}: weights "
            "are differences of energies; switch autocast or .half() off, there too"
        )
    if not torch.equal(x, kept):
        raise ValueError(f"{name} changes x in place: work on a copy, x.clone()")
    bad = faulty(u)
    if bool(bad.any()):
        raise ValueError(
            f"{name} returned {'NaN' if bool(u.isnan().any()) else '-inf'} "
            f"on {int(bad.sum())} of {len(x)} rows"
        )
    finite = torch.isfinite(u)
    scale = 1 + float(u[finite].abs().max()) if bool(finite.any()) else 1.0
    for other, tolerance, when in (
        (again, 1e-6, "when asked twice"),
        (part, 1e-4, "in another batch"),
        *((one, 1e-4, "when asked often") for one in single),
        (turned.flip(0), 1e-4, "in another order of the rows"),
    ):
        apart = _apart(u[: len(other)], other)
        if float(apart.max()) > tolerance * scale:
            raise ValueError(
                f"{name} gives the same row another energy {when} (by {float(apart.max()):.2g}): "
                f"batch normalisation, dropout, spectral normalisation, autocast, random numbers "
                f"or labels bound to places; {remedy}"
            )
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
                f"{name} has another gradient to its parameters {when}: batch normalisation, "
                f"dropout, spectral normalisation or autocast; {remedy}"
            )
    evaluated, cache = evaluate(model, x[:2])
    if "g" not in cache:
        if isinstance(space_of(model), Discrete):
            return
        raise ValueError(
            f"{name} carries no gradient to x: it detaches, rounds or does not depend on x"
        )
    _check_own_evaluation(model, x[:2], evaluated, cache)
    if not bool(torch.isfinite(cache["g"][torch.isfinite(u[:2])]).all()):
        raise ValueError(f"{name} has a gradient that is not finite at the data")
