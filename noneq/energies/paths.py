"""Annealing paths: families of energies from a solvable start (beta = 0) to an end (beta = 1).

Any object with ``start`` and ``at(beta)`` is a `Path`. A `SnapshotPath` states the formulas of
U_beta once, with beta as an argument; a `PathEnergy` is such a path at one fixed beta:

    >>> from noneq.energies import Gaussian, GeometricPath, Identity
    >>> wide, narrow = (Gaussian(torch.zeros(1), Identity(s)) for s in (2.0, 1.0))
    >>> halfway, x = GeometricPath(wide, narrow).at(0.5), torch.ones(1, 1)
    >>> bool(torch.isclose(halfway(x), (wide(x) + narrow(x)) / 2))
    True
"""

from __future__ import annotations

import copy
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from noneq.energies.base import Cache, Energy, Solvable, check_beta, evaluate
from noneq.energies.composite import Tilted, _both, _change, _common_space, _plus
from noneq.energies.fingerprint import unique_mark
from noneq.spaces import Space

__all__ = [
    "GeometricPath",
    "ModelsPath",
    "ParameterPath",
    "Path",
    "PathEnergy",
    "SnapshotPath",
    "d_beta",
    "path_to",
]


@runtime_checkable
class Path(Protocol):
    """A path is a family of energies U_beta, beta in [0, 1], from a start at 0 to an end at 1."""

    @property
    def start(self) -> Energy:
        """Return the energy at beta = 0, in most uses one with exact log Z and samples."""

    def at(self, beta: float, /) -> Energy:
        """Return a new energy U_beta, with ``dU_beta/dbeta`` as its method ``d_beta`` if known."""


def path_to(energy: Energy, base: Solvable) -> Path:
    """Choose a path: ``energy.path_from(base)`` where there is one, else a `GeometricPath`.

    Arguments:
        energy: end of the path; a method ``path_from`` of it may return None for no special path.
        base: start of the path, with exact log Z and samples.

    Returns:
        The path from the base to the energy.
    """
    own = getattr(energy, "path_from", None)
    path: Path | None = None if own is None else own(base)
    return GeometricPath(base, energy) if path is None else path


def d_beta(energy: Energy, x: Tensor, cache: Cache) -> Tensor | None:
    """Return ``dU_beta/dbeta`` at x, the derivative along the annealing path of an energy U_beta.

    Arguments:
        energy: energy U_beta, whose method ``d_beta(x, cache)`` computes the derivative.
        x: positions (B, *shape).
        cache: cache that `evaluate` returned for x and an energy of the same path.

    Returns:
        The derivative (B,), or None where it is not known without further evaluations of energies.
    """
    own = getattr(energy, "d_beta", None)
    found: Tensor | None = None if own is None else own(x, cache)
    return found


class SnapshotPath(ABC):
    """Base class of annealing paths between two energies whose parameters stay as they are.

    Make a new path when the parameters of an end have changed. A subclass sets ``start`` and
    ``space``, calls ``super().__init__()`` and defines `evaluate`, the formula of U_beta. It may
    define ``gradient(x, cache, *, beta)``, ``gibbs(x, cache, rng, *, beta)`` (one Gibbs sweep) and
    ``drift(x, t)`` (a velocity field); the energies that `at` returns then have these methods.

    Attributes:
        space: space of the positions of all energies of the path.
        linear: whether U_beta is linear in beta, so that `d_beta` is the same at every beta.
        mark: number that identifies the path; no two paths of a process have the same.
    """

    space: Space
    linear: bool = False

    def __init__(self) -> None:
        self.mark = unique_mark()

    def at(self, beta: float) -> PathEnergy:
        """Return the energy U_beta at a position beta in [0, 1] (else ValueError) of the path."""
        check_beta(beta)
        return PathEnergy(self, beta)

    @abstractmethod
    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None, *, beta: float
    ) -> tuple[Tensor, Cache]:
        """Return the energies U_beta (B,) at x, and a cache (dictionary), e.g. of the gradient.

        Arguments:
            x: positions (B, *shape).
            previous_cache: cache that a call at the same x and any beta returned, or None.
            beta: position on the path, in [0, 1].
        """

    def d_beta(self, x: Tensor, cache: Cache, *, beta: float) -> Tensor | None:  # noqa: ARG002
        """Return ``dU_beta/dbeta`` (B,) at x, or None if that costs further evaluations."""
        return None


class PathEnergy:
    """Represents the energy U_beta at one position beta of a `SnapshotPath`.

    Arguments:
        path: path, which has the formula of U_beta.
        beta: position on the path, in [0, 1].

    Attributes:
        gradient, gibbs, drift: methods that exist only where the path has them, at this beta.
    """

    # set only where the path has the formula, since kernels ask what an energy offers
    gradient: Callable[[Tensor, Cache], Tensor | None]
    gibbs: Callable[[Tensor, Cache, torch.Generator], Tensor]
    drift: Callable[[Tensor, float], Tensor]

    def __init__(self, path: SnapshotPath, beta: float) -> None:
        self.path = path
        self.beta = beta
        self.space = path.space
        for name in ("gradient", "gibbs"):
            if hasattr(path, name):
                setattr(self, name, partial(getattr(path, name), beta=beta))
        # the drift takes any time, not only beta: a map needs it at both ends of a step
        if hasattr(path, "drift"):
            self.drift = path.drift

    def __call__(self, x: Tensor) -> Tensor:
        """Return the energies U_beta (B,) of the rows of x (B, *shape)."""
        return self.evaluate(x)[0]

    def fingerprint(self) -> Tensor:
        """Return a 0-d integer that identifies the path, the same for all energies of the path."""
        return self.path.mark

    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        """Return the energies U_beta (B,) at x, and a dictionary ("cache"), e.g. of the gradient.

        ``previous_cache`` is one of the same x from this path; ``graph=True`` is a ValueError.
        """
        if graph:
            raise ValueError("an energy on a path has no parameters to differentiate")
        return self.path.evaluate(x, previous_cache, beta=self.beta)

    def d_beta(self, x: Tensor, cache: Cache) -> Tensor | None:
        """Return ``dU_beta/dbeta`` (B,) at x, or None if that costs further evaluations."""
        return self.path.d_beta(x, cache, beta=self.beta)


class ParameterPath:
    """Interpolates the parameters of two modules, ``(1 - beta) theta_0 + beta theta_1``.

    Between two RBMs every model is an RBM, so that block Gibbs sampling applies; the energies of a
    geometric path between two RBMs are not RBMs (Salakhutdinov and Murray 2008).

    Arguments:
        start: module at beta = 0, with parameters theta_0; usually solvable.
        end: module at beta = 1, of the same type and shapes.

    Raises:
        ValueError: the modules are not of the same type and shapes.
    """

    def __init__(self, start: nn.Module, end: nn.Module) -> None:
        own, other = ({k: v.shape for k, v in m.state_dict().items()} for m in (start, end))
        if type(start) is not type(end) or own != other:
            raise ValueError(
                "a path of parameters joins two modules of the same type and shapes, got "
                f"{type(start).__name__} and {type(end).__name__}"
            )
        self.start = start
        self.end = end

    @torch.no_grad()
    def at(self, beta: float) -> nn.Module:
        """Return a new module with the parameters at a position beta in [0, 1] of the path."""
        check_beta(beta)
        model, ends = copy.deepcopy(self.end), (self.start.state_dict(), self.end.state_dict())
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.lerp(ends[0][key], ends[1][key], beta))
        return model


class ModelsPath:
    """Joins a base to the last of several models through the others, e.g. through checkpoints.

    The first part of the path leads from the base to the first model (`path_to`), each other part
    from a model to the next by interpolated parameters (`ParameterPath`); all have equal lengths
    in beta. Checkpoints of a training separate the modes of the last model one by one, so that
    samples reach all of them, as they may not on a straight path. Source, with parallel tempering
    in place of annealing: Bereux et al. 2024 (arXiv 2405.15376).

    Arguments:
        base: start of the path, with exact log Z and samples.
        models: models of one type, the end last; pass a copy of one still in training.

    Raises:
        ValueError: there are no models, or two are not of the same type and shapes.
    """

    def __init__(self, base: Solvable, models: Sequence[nn.Module]) -> None:
        if not models:
            raise ValueError("a path through models needs one or more of them, got none")
        between = itertools.starmap(ParameterPath, itertools.pairwise(models))
        self.start = base
        self.legs: tuple[Path, ...] = (path_to(models[0], base), *between)

    def at(self, beta: float) -> Energy:
        """Return the energy at beta in [0, 1]: 0 is the base, 1 the last model."""
        check_beta(beta)
        along = beta * len(self.legs)
        leg = min(int(along), len(self.legs) - 1)
        return self.legs[leg].at(along - leg)


class GeometricPath(SnapshotPath):
    """Interpolates two energies, ``U_beta = (1 - beta) U_0 + beta U_1``: the geometric path.

    Arguments:
        start: energy U_0, usually solvable; its space must contain that of U_1 (ValueError).
        end: energy U_1.
    """

    linear = True

    def __init__(self, start: Energy, end: Energy) -> None:
        super().__init__()
        self.start = start
        self.end = end
        self.space = _common_space(start, end)
        # start and end share their base: U_beta = U_0 + beta f, evaluated as such
        self.tilt: Energy | None = (
            end.net if isinstance(end, Tilted) and end.base is start else None
        )

    def ends(self, x: Tensor) -> Cache:
        """Return a dictionary of U_0 ("u0"), U_1 - U_0 ("du") and their gradients ("g0", "dg")."""
        u0, cache0 = evaluate(self.start, x)
        if self.tilt is not None:
            du, cache1 = evaluate(self.tilt, x)
        else:
            u1, cache1 = evaluate(self.end, x)
            du = _change(u0, u1)
        ends = {"u0": u0, "du": du}
        if _both(cache0, cache1):
            g0, g1 = cache0["g"], cache1["g"]
            ends |= {"g0": g0, "dg": g1 if self.tilt is not None else g1 - g0}
        return ends

    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None, *, beta: float
    ) -> tuple[Tensor, Cache]:
        """Return ``(1 - beta) U_0 + beta U_1`` (B,) at x, and a cache with the gradient "g".

        The cache keeps U_0 and U_1: given as ``previous_cache`` for the same x, it spares both.
        """
        ends = (
            dict(previous_cache)
            if previous_cache is not None and "du" in previous_cache
            else self.ends(x)
        )
        u = _plus(ends["u0"], beta, ends["du"])
        if "g0" not in ends:
            return u, ends
        return u, {**ends, "g": _plus(ends["g0"], beta, ends["dg"])}

    def d_beta(self, x: Tensor, cache: Cache, *, beta: float) -> Tensor | None:  # noqa: ARG002
        """Return ``dU_beta/dbeta = U_1 - U_0`` (B,), the cache's entry "du", else None."""
        return cache.get("du")
