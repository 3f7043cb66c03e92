"""Energies made of energies: tilted by a network, at another temperature, in a box."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from noneq.energies.base import Cache, Energy, Solvable, evaluate
from noneq.energies.fingerprint import fingerprint
from noneq.spaces import REAL, Box, Discrete, Real, Space, require, space_of

__all__ = ["Boxed", "Tempered", "Tilted"]


class Tilted(nn.Module):
    """``U(x) = U_base(x) + f(x)``: a solvable base tilted by a network.

    With f = 0 at first (the networks of `noneq.models.networks` start so) log Z and exact samples
    are known before the first update. The base is not trained.

    Arguments:
        base: a solvable energy.
        net: f, ``(B, *shape) -> (B,)``, any scalar network.
    """

    def __init__(self, base: Solvable, net: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.net = net
        # a network that declares nothing lives wherever its base does; one in a box has walls
        self.space = space_of(base) if space_of(net) == REAL else _common_space(base, net)

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        base: Tensor = self.base(x)
        tilt: Tensor = self.net(x)
        return base + tilt

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,
    ) -> tuple[Tensor, Cache]:
        """Energies and gradient, the base's share by its own evaluation."""
        u0, base = evaluate(self.base, x)
        f, tilt = evaluate(self.net, x, graph=graph)
        return u0 + f, {k: base[k] + tilt[k] for k in _both(base, tilt)}


class Tempered(nn.Module):
    """``U(x) = beta U_1(x)``, beta the inverse temperature.

    Arguments:
        energy: U_1.
        beta: inverse temperature, >= 0.
    """

    def __init__(self, energy: Energy, beta: float) -> None:
        super().__init__()
        if not beta >= 0:
            raise ValueError(f"beta is an inverse temperature >= 0, got {beta}")
        self.energy = energy
        self.beta = beta
        self.space = space_of(energy)

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        return _times(self.beta, self.energy(x))

    def fingerprint(self) -> Tensor | None:
        """The energy's, and beta's."""
        own = fingerprint(self.energy)
        return None if own is None else own + hash(self.beta)

    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        """``beta`` times the energy's own evaluation."""
        u, cache = evaluate(self.energy, x, previous_cache, graph=graph)
        return _times(self.beta, u), {k: _times(self.beta, cache[k]) for k in _both(cache, cache)}


def _both(a: Cache, b: Cache) -> set[str]:
    """What of the gradient both have: {"g"} or nothing."""
    return {"g"} & a.keys() & b.keys()


def _times(beta: float, u: Tensor) -> Tensor:
    """``beta u``; behind a hard wall, where u is +inf, still +inf, and 0 at beta = 0."""
    if beta > 0:
        return torch.where(u == math.inf, math.inf, beta * u)
    return 0.0 * u.nan_to_num(nan=0.0, posinf=0.0)


def _plus(u: Tensor, beta: float, change: Tensor) -> Tensor:
    """``u + beta change`` in one pass; a wall as in `_times`: beta > 0 never rounds to 0."""
    if beta > 0:
        return torch.add(u, change, alpha=max(beta, torch.finfo(u.dtype).tiny))
    return u


def _common_space(start: Energy, end: Energy) -> Space:
    """Where a path between two energies lives: where it ends; it must start there, too."""
    a, b = space_of(start), space_of(end)
    within = isinstance(a, Real) and not isinstance(b, Discrete)
    if isinstance(a, Box) and isinstance(b, Box):
        within = a.holds(b)
    if not (within or a == b):
        raise ValueError(
            f"a path starts wherever it ends: its start lives on {a}, which does not hold {b}"
        )
    return b


class Boxed(nn.Module):
    """``U(x)`` inside a box, +inf outside.

    Outside the energy is never asked: it is evaluated at the nearest point of the box instead and
    the result thrown away.

    Arguments:
        energy: U, of continuous variables.
        low, high: the walls, see `noneq.spaces.Box`.
    """

    def __init__(self, energy: Energy, low: float | Tensor, high: float | Tensor) -> None:
        super().__init__()
        require(energy, self, Real)
        self.energy = energy
        self.space: Space = Box(low, high)

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        return self._walled(x, self.energy(self._box.nearest(x)))

    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        """Energies, and gradients that mean nothing outside."""
        u, cache = evaluate(self.energy, self._box.nearest(x), previous_cache, graph=graph)
        return self._walled(x, u), cache

    @property
    def _box(self) -> Box:
        assert isinstance(self.space, Box)
        return self.space

    def _walled(self, x: Tensor, u: Tensor) -> Tensor:
        return torch.where(self._box.contains(x), u, math.inf)
