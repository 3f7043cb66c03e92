"""Paths of energies U(x, t), t in [0, 1], with a velocity field that carries samples along.

The velocity field b(x, t), called the drift, and the score s(x, t) may be inexact: weights correct
for it. The nearer they are to ``b = E[dx_t/dt | x_t]`` and ``s = grad log rho_t``, with rho_t the
density of x_t, the more even the weights. For example, with energies ``base`` and ``target``:

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

    The drift is a velocity field b(x, t), along which the kernels `noneq.kernels.EulerMaruyama`
    and `noneq.kernels.Flow` carry weighted samples (walkers). Drift and score may be inexact:
    log-weights correct for it. Parameters of energies and fields must not change while the path is
    used.

    Arguments:
        base: solvable energy at t = 0, i.e. one with exact samples and log Z.

    Attributes:
        base: solvable energy at t = 0.
        between: whether U is defined at times between 0 and 1, so that walkers can be resampled
            and moved there.
        space: space of the positions, e.g. `noneq.spaces.REAL` for R^n.
    """

    between: bool = True
    space: Space = REAL

    def __init__(self, base: Solvable) -> None:
        super().__init__()
        self.base = base

    @abstractmethod
    def fields(self, x: Tensor, t: float) -> tuple[Tensor, Cache]:
        """Compute the energies U(x, t), the drift b(x, t), and the score or the gradient of U.

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The energies (B,), and a dictionary of the drift ``b``, and of the score ``s`` or else
            the gradient ``g = dU/dx``, in which case s = -g; each is (B, *shape), without an
            autograd graph.
        """

    @abstractmethod
    def drift(self, x: Tensor, t: float) -> Tensor:
        """Compute the drift (velocity field) ``b(x, t)`` of the path, differentiable in x.

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The drift (B, *shape).
        """

    def energy_gradient(self, x: Tensor, t: float) -> Tensor | None:  # noqa: ARG002
        """Compute ``dU/dx`` at time t, for kernels that need it if the method `fields` omits it.

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The gradient (B, *shape); None, the default, if it is unknown or `fields` returns it.
        """
        return None

    def answer(self, y: Tensor, t: float) -> Tensor | None:  # noqa: ARG002
        """Compute how much the drift (velocity field) b changes if ``t y`` is added to the score.

        The formula for paths that start at a Gaussian is in `Interpolant.response`.

        Arguments:
            y: vectors (B, *shape), e.g. the gradients of a reward.
            t: time in [0, 1].

        Returns:
            The change of the drift (B, *shape); None, the default, if b does not follow from the
            score.
        """
        return None

    @property
    def start(self) -> Solvable:
        """Return the energy U(., 0) at the start of the path, with exact samples and log Z."""
        return _Start(self)

    def at(self, t: float) -> PathEnergy:
        """Return the energy U(., t) at one time.

        Arguments:
            t: time in [0, 1].

        Returns:
            The energy, ``(B, *shape) -> (B,)``.

        Raises:
            ValueError: t is outside [0, 1].
        """
        check_beta(t, "a time")
        return PathEnergy(self, t)

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None,  # noqa: ARG002
        *,
        beta: float,
    ) -> tuple[Tensor, Cache]:
        """Compute the energies at time ``beta``, and a dictionary of the drift and the score.

        Arguments:
            x: positions (B, *shape).
            previous_cache: not used.
            beta: time in [0, 1].

        Returns:
            The energies (B,), and the dictionary that the method `fields` returns (drift, and
            score or gradient) with the further entry ``t``, the time of each row (B,).
        """
        u, cache = checked_fields(self, x, beta)
        return u, {**cache, "t": x.new_full((len(x),), beta)}

    def gradient(self, x: Tensor, cache: Cache, *, beta: float) -> Tensor | None:  # noqa: ARG002
        """Compute ``dU/dx`` at time ``beta``, for kernels that need it if `fields` omits it.

        Arguments:
            x: positions (B, *shape).
            cache: not used.
            beta: time in [0, 1].

        Returns:
            The gradient (B, *shape), from the method `energy_gradient`; None if it is unknown.
        """
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
    """Compute the energies, drift and score of a path at a time t, and check their shapes.

    Arguments:
        path: path with a drift (a velocity field along which samples are carried).
        x: positions (B, *shape).
        t: time in [0, 1].

    Returns:
        The energies (B,), and a dictionary of the drift ``b`` and the score ``s`` or else the
        gradient ``g`` of the energy, each (B, *shape).

    Raises:
        ValueError: the drift, or both score and gradient, are missing or have another shape.
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
    """Compute ``dU/dx`` so that it can itself be differentiated with respect to x.

    Arguments:
        energy: energy U, ``(B, *shape) -> (B,)``.
        x: positions (B, *shape).

    Returns:
        The gradient (B, *shape), with its autograd graph; None if U does not depend on x
        differentiably.
    """
    with torch.enable_grad():
        leaf = x if x.requires_grad else x.detach().requires_grad_(True)
        u = energy(leaf)
        if not u.requires_grad:
            return None
        (g,) = torch.autograd.grad(u.sum(), leaf, create_graph=True, allow_unused=True)
    found: Tensor | None = g
    return found
