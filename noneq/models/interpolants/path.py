r"""Paths with a drift: energies U(., t) from t = 0 to 1 and fields that carry walkers along.

The fields are any b(x, t) and s(x, t): weights are exact whatever they are, and even where
``b = E[dx_t/dt | x_t]`` and ``s = grad log rho_t`` the better, for walkers of equal weight.

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
    """Energies and fields at every t in [0, 1]; a snapshot, like all paths.

    Attributes:
        base: the solvable energy at t = 0.
        between: whether there are energies between the ends, to resample and to move by.
    """

    between: bool = True
    space: Space = REAL

    def __init__(self, base: Solvable) -> None:
        super().__init__()
        self.base = base

    @abstractmethod
    def fields(self, x: Tensor, t: float) -> tuple[Tensor, Cache]:
        """``U(x, t)`` (B,) and the cache, without a graph.

        The cache holds ``b`` and either ``g = dU/dx``, with s = -g, or ``s``.
        """

    @abstractmethod
    def drift(self, x: Tensor, t: float) -> Tensor:
        """``b(x, t)`` with its graph to x."""

    def energy_gradient(self, x: Tensor, t: float) -> Tensor | None:  # noqa: ARG002
        """``dU/dx`` where the cache has none: for kernels that follow it."""
        return None

    def answer(self, y: Tensor, t: float) -> Tensor | None:  # noqa: ARG002
        """The change of b where the score changes by ``t y``; None where b does not follow from s.

        See `Interpolant.response`.
        """
        return None

    @property
    def start(self) -> Solvable:
        """The energy at t = 0, whose samples and log Z are the base's."""
        return _Start(self)

    def at(self, t: float) -> PathEnergy:
        """The energy at time t in [0, 1]."""
        check_beta(t, "a time")
        return PathEnergy(self, t)

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None,  # noqa: ARG002
        *,
        beta: float,
    ) -> tuple[Tensor, Cache]:
        """Energies, fields and the time of every row, ``t``, which is beta."""
        u, cache = checked_fields(self, x, beta)
        return u, {**cache, "t": x.new_full((len(x),), beta)}

    def gradient(self, x: Tensor, cache: Cache, *, beta: float) -> Tensor | None:  # noqa: ARG002
        """`energy_gradient` at the time beta."""
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
    """A path's energies and fields; ValueError where they are not what `DriftedPath.fields` is."""
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
    """``dU/dx`` with its graph to x; None where there is none."""
    with torch.enable_grad():
        leaf = x if x.requires_grad else x.detach().requires_grad_(True)
        u = energy(leaf)
        if not u.requires_grad:
            return None
        (g,) = torch.autograd.grad(u.sum(), leaf, create_graph=True, allow_unused=True)
    found: Tensor | None = g
    return found
