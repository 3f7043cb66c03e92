"""Resampling schemes: how often each walker is copied, given its normalised weight.

Each scheme copies walker i (one of n weighted samples) ``n p_i`` times in expectation. Systematic
resampling is the default everywhere.
"""

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

Resampler: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
"""A resampling scheme, ``(p, rng) -> indices``, which draws the walkers that are copied.

Normalised weights p and indices have the shape (..., n), with n walkers (weighted samples) in each
population.
"""


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


def _places(p: Tensor) -> Tensor:
    return torch.arange(p.shape[-1], dtype=torch.float64, device=p.device)


def systematic(p: Tensor, rng: torch.Generator, count: int | None = None) -> Tensor:
    """Resample by inverting the cumulative weights at ``(j + u) / n``, j = 0 ... n - 1.

    One number u, uniform in [0, 1), serves all j. Walker i is copied ``n p_i`` times in
    expectation, and always ``floor(n p_i)`` or ``ceil(n p_i)`` times. This is the default, since
    it adds little variance. Source: Kitagawa 1996.

    Arguments:
        p: normalised weights of the walkers (..., N).
        rng: source of randomness.
        count: number n of copies in all; None: as many as there are walkers.

    Returns:
        Indices of the walkers that are copied (..., n), in increasing order.

    >>> systematic(torch.tensor([0.5, 0.5, 0.0, 0.0]), torch.Generator()).tolist()
    [0, 0, 1, 1]
    """
    n = p.shape[-1] if count is None else count
    places = torch.arange(n, dtype=torch.float64, device=p.device)
    return _invert(p, (places + _uniform(p, 1, rng)) / n)


def stratified(p: Tensor, rng: torch.Generator) -> Tensor:
    """Resample by inverting the cumulative weights at ``(j + u_j) / n``, j = 0 ... n - 1.

    The u_j are n independent numbers, uniform in [0, 1). Source: Kitagawa 1996.

    Arguments:
        p: normalised weights of n walkers (..., n).
        rng: source of randomness.

    Returns:
        Indices of the walkers that are copied (..., n), in increasing order.
    """
    n = p.shape[-1]
    return _invert(p, (_places(p) + _uniform(p, n, rng)) / n)


def multinomial(p: Tensor, rng: torch.Generator) -> Tensor:
    """Resample by n independent draws of an index, with the probabilities p.

    Source: Gordon, Salmond, Smith 1993.

    Arguments:
        p: normalised weights of n walkers (..., n).
        rng: source of randomness.

    Returns:
        Indices of the walkers that are copied (..., n).
    """
    return _invert(p, _uniform(p, p.shape[-1], rng))


def residual(p: Tensor, rng: torch.Generator) -> Tensor:
    """Copy walker i ``floor(n p_i)`` times, and draw further copies up to n in total.

    Further copies are independent draws with probabilities proportional to the remainders
    ``n p_i - floor(n p_i)``. Source: Liu and Chen 1998.

    Arguments:
        p: normalised weights of n walkers (..., n).
        rng: source of randomness.

    Returns:
        Indices of the walkers that are copied (..., n).
    """
    n = p.shape[-1]
    expected = n * p.double()
    copies = (expected * (1 + 1e-12)).floor()  # n (1/n) may round to less than 1
    cumulative = copies.cumsum(-1).contiguous()
    slot = _places(p).expand_as(expected).contiguous()
    certain = torch.searchsorted(cumulative, slot, right=True).clamp(max=n - 1)
    rest = (expected - copies).clamp(min=0.0)
    # where nothing is left over every slot is certain; any positive weights will do
    rest = torch.where(rest.sum(-1, keepdim=True) > 0, rest, expected)
    drawn = _invert(rest, _uniform(p, n, rng))
    return torch.where(slot < cumulative[..., -1:], certain, drawn)


def resample_islands(
    p: Tensor, low: Tensor, scheme: Resampler, rng: torch.Generator, order: Tensor | None
) -> Tensor:
    """Resample some of several islands (groups of n walkers) and leave the others as they are.

    The order of the walkers never causes a bias. With systematic or stratified resampling any
    stretch of walkers that are neighbours in this order keeps its total weight, as a number of
    copies, to within one or two (Gerber, Chopin, Whiteley 2019), so that it pays to sort by a
    quantity on which later weights depend.

    Arguments:
        p: normalised weights of each island (islands, n); N = islands n.
        low: whether each island is resampled (islands,).
        scheme: resampling scheme within an island, e.g. `systematic`.
        rng: source of randomness.
        order: quantity (N,) by which the walkers of an island are sorted first; None: not sorted.

    Returns:
        Index (N,) of the walker that is copied to each place.
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
