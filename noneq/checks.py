"""Is this an energy? One clear error for each way it is not."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from noneq.data import check_data, check_rows
from noneq.energies import Cache, Energy, evaluate, faulty, shape_message
from noneq.spaces import Discrete, check_inside, space_of

__all__ = ["check_energy", "check_fit", "check_states"]


def _unsteady_layer(model: Energy) -> str | None:
    """A layer that makes U(x) another number at every call, though f = 0 may hide it now."""
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        hooks = module._forward_pre_hooks.values()
        kinds = [type(module).__name__, *(type(hook).__name__ for hook in hooks)]
        found = [k for k in kinds if "Dropout" in k or "BatchNorm" in k or "SpectralNorm" in k]
        if module.training and found and getattr(module, "p", 1.0) != 0:
            return f"{found[0].lstrip('_')} ({name})"
    return None


def _slope(model: Energy, x: Tensor, few: int) -> Tensor:
    """Gradient of the first energies to the parameters: f = 0 hides what it will become."""
    own = model.parameters() if isinstance(model, nn.Module) else ()
    wanted = [p for p in own if p.requires_grad]
    with torch.enable_grad():
        u = model(x)[:few]
        total = u[torch.isfinite(u)].sum()
    if not wanted or not total.requires_grad:
        return torch.zeros(0)
    found = torch.autograd.grad(total, wanted, allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None] or [torch.zeros(0)])


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


def check_energy(model: Energy, x: Tensor) -> None:
    """Raise unless the model is a deterministic function of each row alone.

    Weights are differences of energies, so ``U(x)`` must be the same number when asked twice and
    in another batch. Batch normalisation in training mode, dropout, spectral normalisation's power
    iteration and autocast break that, each without a sign in the loss.

    Raises:
        ValueError: wrong shape, not float32 or float64, NaN or -inf, changes when asked twice or
            in another batch, carries no gradient to x, or has an ``evaluate`` of its own that
            differs from its forward.
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
    try:
        with torch.no_grad():
            u, again, part = model(x), model(x), model(x[:few])
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
    ):
        first = u[: len(other)]
        apart = torch.where(first == other, 0.0, (other - first).abs()).nan_to_num(math.inf)
        if float(apart.max()) > tolerance * scale:
            raise ValueError(
                f"{name} gives the same row another energy {when} (by {float(apart.max()):.2g}): "
                f"batch normalisation, dropout, spectral normalisation or autocast; {remedy}"
            )
    slope, again, part = (_slope(model, rows, few) for rows in (x, x, x[:few]))
    for other, when in ((again, "when asked twice"), (part, "in another batch")):
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
