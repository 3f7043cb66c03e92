"""Energies made of other energies: tilted by a network, at another temperature, or in a box."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from noneq.energies.base import Cache, Energy, Solvable, evaluate
from noneq.energies.fingerprint import fingerprint
from noneq.spaces import REAL, Box, Discrete, Real, Space, WithContext, require, space_of

__all__ = ["Boxed", "Tempered", "Tilted"]


class Tilted(nn.Module):
    """Adds a network f to a solvable energy: ``U(x) = U_base(x) + f(x)``.

    If f = 0 before training, as with the networks of `noneq.models`, the energy starts as the
    base, whose log Z and exact samples are known. Only the network is trained, never the base.

    Arguments:
        base: energy U_base with exact methods ``log_z()`` and ``sample(n, rng)``.
        net: scalar network f, ``(B, *shape) -> (B,)``.

    >>> from noneq.energies import Gaussian, Identity
    >>> base = Gaussian(torch.zeros(2), Identity())
    >>> energy = Tilted(base, nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)))
    >>> x = torch.randn(5, 2)
    >>> torch.allclose(energy(x), base(x) + energy.net(x))
    True
    """

    def __init__(self, base: Solvable, net: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.net = net
        # a network that declares no space takes that of the base; a boxed network keeps its walls
        self.space = space_of(base) if space_of(net) == REAL else _common_space(base, net)

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies ``U_base(x) + f(x)`` (B,) of the rows of x (B, *shape)."""
        base: Tensor = self.base(x)
        tilt: Tensor = self.net(x)
        return base + tilt

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,
    ) -> tuple[Tensor, Cache]:
        """Evaluate ``U_base + f`` and its gradient at the rows of x.

        Arguments:
            x: positions (B, *shape).
            previous_cache: not used; an argument of the ``evaluate`` methods of all energies.
            graph: whether f keeps its autograd graph to the parameters; the base never does.

        Returns:
            The energies (B,) and a cache, ``{"g": dU/dx (B, *shape)}``.
        """
        u0, base = evaluate(self.base, x)
        f, tilt = evaluate(self.net, x, graph=graph)
        return u0 + f, {k: base[k] + tilt[k] for k in _both(base, tilt)}


class Tempered(nn.Module):
    """Multiplies an energy U_1 by an inverse temperature: ``U(x) = beta U_1(x)``.

    Arguments:
        energy: energy U_1.
        beta: inverse temperature, >= 0.

    Raises:
        ValueError: beta is negative or NaN.
    """

    def __init__(self, energy: Energy, beta: float) -> None:
        super().__init__()
        if not beta >= 0:
            raise ValueError(f"beta is an inverse temperature >= 0, got {beta}")
        self.energy = energy
        self.beta = beta
        self.space = space_of(energy)

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies ``beta U_1(x)`` (B,) of the rows of x (B, *shape)."""
        return _times(self.beta, self.energy(x))

    def fingerprint(self) -> Tensor | None:
        """Return a hash of beta and of the parameters of U_1, which changes when one of them does.

        Returns:
            A 0-d integer tensor, or None where the parameters of U_1 cannot be hashed.
        """
        own = fingerprint(self.energy)
        return None if own is None else own + hash(self.beta)

    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        """Evaluate ``beta U_1`` and its gradient at the rows of x.

        Arguments:
            x: positions (B, *shape).
            previous_cache: cache that U_1 returned for the same x, or None.
            graph: whether the energies keep their autograd graph to the parameters.

        Returns:
            The energies (B,) and a cache, ``{"g": beta dU_1/dx (B, *shape)}``.
        """
        u, cache = evaluate(self.energy, x, previous_cache, graph=graph)
        return _times(self.beta, u), {k: _times(self.beta, cache[k]) for k in _both(cache, cache)}


def _both(a: Cache, b: Cache) -> set[str]:
    """Return {"g"} where both caches hold a gradient, else the empty set."""
    return {"g"} & a.keys() & b.keys()


def _times(beta: float, u: Tensor) -> Tensor:
    """Return ``beta u``: +inf stays +inf behind a hard wall, and is 0 at beta = 0."""
    if beta > 0:
        return torch.where(u == math.inf, math.inf, beta * u)
    return 0.0 * u.nan_to_num(nan=0.0, posinf=0.0)


def _plus(u: Tensor, beta: float, change: Tensor) -> Tensor:
    """Return ``u + beta change``; +inf stays +inf at any beta > 0, which never rounds to 0."""
    if beta > 0:
        return torch.add(u, change, alpha=max(beta, torch.finfo(u.dtype).tiny))
    return u


def _change(u0: Tensor, u1: Tensor) -> Tensor:
    """Return ``U_1 - U_0``, +inf outside of both rather than inf - inf."""
    return torch.where(u1 == math.inf, math.inf, u1 - u0)


def _common_space(start: Energy, end: Energy) -> Space:
    """Return the space of a path between two energies, that of its end.

    Raises:
        ValueError: the space of the start does not contain that of the end.
    """
    a, b = space_of(start), space_of(end)
    within = isinstance(a, Real) and not isinstance(b, Discrete)
    if isinstance(a, WithContext) or isinstance(b, WithContext):
        within = a == b
    if isinstance(a, Box) and isinstance(b, Box):
        within = a.holds(b)
    if not (within or a == b):
        raise ValueError(
            f"a path starts wherever it ends: its start lives on {a}, which does not hold {b}"
        )
    return b


class Boxed(nn.Module):
    """Restricts an energy U to a box: the energy is ``U(x)`` inside, and +inf outside of it.

    U is never evaluated outside: there it is evaluated at the nearest point of the box, and the
    result is discarded.

    Arguments:
        energy: energy U of continuous variables.
        low: lower bounds of the coordinates, numbers or tensors that broadcast to the shape of one
            position; -inf for no bound.
        high: upper bounds of the coordinates; +inf for no bound.

    Raises:
        ValueError: the variables of the energy are not continuous and unbounded, or low >= high
            somewhere.
    """

    def __init__(self, energy: Energy, low: float | Tensor, high: float | Tensor) -> None:
        super().__init__()
        require(energy, self, Real)
        self.energy = energy
        self.space: Space = Box(low, high)

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies (B,) of the rows of x (B, *shape): U(x), or +inf outside."""
        return self._walled(x, self.energy(self._box.nearest(x)))

    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        """Evaluate the energy in the box, and its gradient, at the rows of x.

        Arguments:
            x: positions (B, *shape).
            previous_cache: cache that an earlier call returned for the same x, or None.
            graph: whether the energies keep their autograd graph to the parameters.

        Returns:
            The energies (B,), +inf outside of the box, and the cache of U, whose gradient "g"
            (B, *shape) has no meaning outside.
        """
        u, cache = evaluate(self.energy, self._box.nearest(x), previous_cache, graph=graph)
        return self._walled(x, u), cache

    @property
    def _box(self) -> Box:
        assert isinstance(self.space, Box)
        return self.space

    def _walled(self, x: Tensor, u: Tensor) -> Tensor:
        """Return u inside of the box and +inf outside."""
        return torch.where(self._box.contains(x), u, math.inf)
