"""Resampling: which walkers are copied, and how often, by systematic and other draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

__all__ = [
    "Resampler",
    "multinomial",
    "resample_islands",
    "residual",
    "stratified",
    "systematic",
]

#: ``(p, rng) -> indices``: both of shape (..., n), p normalised along the last dimension.
Resampler: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]


def _invert(p: Tensor, u: Tensor) -> Tensor:
    """Indices with cumulative weight above ``u``: the first i with p_1 + ... + p_i > u.

    Dividing by the last cumulative sum makes it exactly 1 from the last walker of positive weight
    on, and ``right=True`` skips every walker of weight zero, so that none of them is chosen.
    """
    cumulative = p.double().cumsum(-1)
    cumulative = cumulative / cumulative[..., -1:]
    u = u.clamp(max=1.0 - 2.0**-53).contiguous()
    return torch.searchsorted(cumulative, u, right=True)


def _uniform(p: Tensor, columns: int, rng: torch.Generator) -> Tensor:
    shape = (*p.shape[:-1], columns)
    return torch.rand(shape, generator=rng, dtype=torch.float64, device=p.device)


def _rungs(p: Tensor) -> Tensor:
    return torch.arange(p.shape[-1], dtype=torch.float64, device=p.device)


def systematic(p: Tensor, rng: torch.Generator) -> Tensor:
    """Resample with one uniform: ``u_j = (j + u) / n``. Lowest variance, the default.

    Source: Kitagawa 1996. Offspring of walker i: ``n p_i`` in expectation, always its floor or
    ceiling.
    """
    n = p.shape[-1]
    return _invert(p, (_rungs(p) + _uniform(p, 1, rng)) / n)


def stratified(p: Tensor, rng: torch.Generator) -> Tensor:
    """Resample with one uniform per stratum: ``u_j = (j + u_j) / n``. Source: Kitagawa 1996."""
    n = p.shape[-1]
    return _invert(p, (_rungs(p) + _uniform(p, n, rng)) / n)


def multinomial(p: Tensor, rng: torch.Generator) -> Tensor:
    """Resample n times independently. Source: Gordon, Salmond, Smith 1993."""
    return _invert(p, _uniform(p, p.shape[-1], rng))


def residual(p: Tensor, rng: torch.Generator) -> Tensor:
    """Copy walker i ``floor(n p_i)`` times, draw the rest from what is left over.

    Source: Liu and Chen 1998.
    """
    n = p.shape[-1]
    expected = n * p.double()
    copies = (expected * (1 + 1e-12)).floor()  # n (1/n) may round to less than 1
    cumulative = copies.cumsum(-1).contiguous()
    slot = _rungs(p).expand_as(expected).contiguous()
    certain = torch.searchsorted(cumulative, slot, right=True).clamp(max=n - 1)
    rest = (expected - copies).clamp(min=0.0)
    # where nothing is left over every slot is certain; any positive weights will do
    rest = torch.where(rest.sum(-1, keepdim=True) > 0, rest, expected)
    drawn = _invert(rest, _uniform(p, n, rng))
    return torch.where(slot < cumulative[..., -1:], certain, drawn)


def resample_islands(
    p: Tensor, low: Tensor, scheme: Resampler, rng: torch.Generator, order: Tensor | None
) -> Tensor:
    """Which walker (N,) each place is given, islands that are not ``low`` keeping their own.

    No order of the walkers biases, but with systematic or stratified draws any stretch of the line
    keeps its mass to within one walker or two (Gerber, Chopin, Whiteley 2019, study sorted
    particles): take a quantity that later weights depend on.

    Arguments:
        p: normalised weights (islands, n), N = islands n.
        low: (islands,), whether an island is resampled.
        scheme: draws within each island.
        rng: source of randomness.
        order: (N,), a quantity by which the walkers of an island are lined up before the draw.
    """
    islands, n = p.shape
    if order is None:
        drawn = scheme(p, rng)
    else:
        line = order.view_as(p).argsort(-1)
        drawn = line.gather(-1, scheme(p.gather(-1, line), rng))
    own = torch.arange(n, device=p.device).expand_as(p)
    offset = torch.arange(islands, device=p.device)[:, None] * n
    return (torch.where(low[:, None], drawn, own) + offset).flatten()
