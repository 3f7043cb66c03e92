r"""Paths with a drift: energies U(., t) for t in [0, 1], and fields that carry walkers along.

The fields may be any b(x, t) and s(x, t): weights are exact whatever they are. The nearer they are
to ``b = E[dx_t/dt | x_t]`` and ``s = grad log rho_t``, the more even the weights.

    path = noneq.models.interpolants.MixturePath(noneq.models.interpolants.Linear(), base, target)
    times = noneq.Schedule.uniform(20, noneq.kernels.EulerMaruyama(1.0))
    walkers, _ = noneq.population(path, 1024, times, rng=rng)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from noneq.energies import Cache, Energy, PathEnergy, SnapshotPath, Solvable
from noneq.energies.base import check_beta, shape_message
from noneq.spaces import REAL, Space

__all__ = ["DriftedPath", "checked_fields", "gradient_with_graph"]


class DriftedPath(SnapshotPath):
    """Base class of paths with an energy U, a drift b and a score s at every time t in [0, 1].

    The drift is a velocity field b(x, t), along which `noneq.kernels.EulerMaruyama` and
    `noneq.kernels.Flow` carry walkers. Drift and score may be inexact: log-weights correct for it.
    Parameters must not change while the path is used.

    Arguments:
        base: solvable energy at t = 0.

    Attributes:
        base: solvable energy at t = 0.
        between: whether U is defined at times between 0 and 1, so that walkers can be resampled
            and moved there.
        space: space of the walkers.
    """

    between: bool = True
    space: Space = REAL

    def __init__(self, base: Solvable) -> None:
        super().__init__()
        self.base = base

    @abstractmethod
    def fields(self, x: Tensor, t: float) -> tuple[Tensor, Cache]:
        """Compute the energies ``U(x, t)`` (B,) and a dictionary of fields, without a graph.

        The dictionary holds the drift ``b``, and the score ``s`` or else the gradient
        ``g = dU/dx``, in which case s = -g; each is (B, *shape).
        """

    @abstractmethod
    def drift(self, x: Tensor, t: float) -> Tensor:
        """Compute the drift ``b(x, t)`` (B, *shape), differentiable in x."""

    def energy_gradient(self, x: Tensor, t: float) -> Tensor | None:  # noqa: ARG002
        """Compute ``dU/dx`` for kernels that need it if `fields` returns none; None if unknown."""
        return None

    def answer(self, y: Tensor, t: float) -> Tensor | None:  # noqa: ARG002
        """Return how the drift b changes (B, *shape) if ``t y`` is added to the score.

        The default, None, says that b does not follow from the score. See `Interpolant.response`.
        """
        return None

    @property
    def start(self) -> Solvable:
        """Return the energy at t = 0, with the samples and log Z of the base."""
        return _Start(self)

    def at(self, t: float) -> PathEnergy:
        """Return the energy at time t in [0, 1]; ValueError for a time outside."""
        check_beta(t, "a time")
        return PathEnergy(self, t)

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None,  # noqa: ARG002
        *,
        beta: float,
    ) -> tuple[Tensor, Cache]:
        """Compute the energies (B,) at time ``beta``, and a cache: the fields, and times (B,)."""
        u, cache = checked_fields(self, x, beta)
        return u, {**cache, "t": x.new_full((len(x),), beta)}

    def gradient(self, x: Tensor, cache: Cache, *, beta: float) -> Tensor | None:  # noqa: ARG002
        """Compute ``dU/dx`` (B, *shape) at the time ``beta``; None if `fields` returns it."""
        return self.energy_gradient(x, beta)


class _Start(PathEnergy):
    """The energy at t = 0, where walkers can be drawn."""

    def __init__(self, path: DriftedPath) -> None:
        super().__init__(path, 0.0)
        self._base = path.base

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return self._base.sample(n, rng)

    def log_z(self) -> float:
        return self._base.log_z()


def checked_fields(path: DriftedPath, x: Tensor, t: float) -> tuple[Tensor, Cache]:
    """Compute the energies and fields of a path, and check their shapes.

    Arguments:
        path: the path.
        x: positions (B, *shape).
        t: the time in [0, 1].

    Returns:
        Energies and cache, as `DriftedPath.fields` returns them.

    Raises:
        ValueError: a field is missing or of the wrong shape.
    """
    u, cache = path.fields(x, t)
    if u.shape != x.shape[:1]:
        raise ValueError(shape_message(path, u, x))
    if "b" not in cache or cache.keys().isdisjoint("gs"):
        raise ValueError(
            f"{type(path).__name__}.fields returned a cache of {sorted(cache)}: give it b, the "
            "drift, and either g = dU/dx or s, the score"
        )
    for name, field in (("drift", "b"), ("score", "s"), ("gradient", "g")):
        if field in cache and cache[field].shape != x.shape:
            raise ValueError(
                f"the {name} has shape {tuple(cache[field].shape)} for rows of shape "
                f"{tuple(x.shape)}: {field}(x, t) is a vector at every row"
            )
    return u, cache


def gradient_with_graph(energy: Energy, x: Tensor) -> Tensor | None:
    """Compute ``dU/dx`` with its graph to x.

    Arguments:
        energy: U.
        x: positions (B, *shape).

    Returns:
        The gradient (B, *shape); None if U does not depend on x differentiably.
    """
    with torch.enable_grad():
        leaf = x if x.requires_grad else x.detach().requires_grad_(True)
        u = energy(leaf)
        if not u.requires_grad:
            return None
        (g,) = torch.autograd.grad(u.sum(), leaf, create_graph=True, allow_unused=True)
    found: Tensor | None = g
    return found
