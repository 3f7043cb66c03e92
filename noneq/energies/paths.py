"""Annealing paths: families of energies from a solvable start (beta = 0) to an end (beta = 1).

Any object with ``start`` and ``at(beta)`` is a `Path`. A `SnapshotPath` states its formulas once,
with beta as an argument; its energies are `PathEnergy` objects, each of which fixes beta:

    >>> from noneq.energies import Gaussian, GeometricPath, Identity
    >>> wide, narrow = (Gaussian(torch.zeros(1), Identity(s)) for s in (2.0, 1.0))
    >>> halfway = GeometricPath(wide, narrow).at(0.5)
    >>> x = torch.ones(1, 1)
    >>> bool(torch.isclose(halfway(x), (wide(x) + narrow(x)) / 2))
    True
"""

from __future__ import annotations

import copy
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from noneq.energies.base import Cache, Energy, Solvable, check_beta, evaluate
from noneq.energies.composite import Tilted, _both, _common_space, _plus
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
    """A path joins two energies: ``at(0)`` is its start and ``at(1)`` its end.

    Each call of ``at`` makes a new energy, which may have a method ``d_beta`` (see `d_beta`).
    """

    @property
    def start(self) -> Energy:
        """Return the energy at beta = 0, usually solvable."""

    def at(self, beta: float, /) -> Energy:
        """Return the energy at beta in [0, 1]."""


def path_to(energy: Energy, base: Solvable) -> Path:
    """Choose a path: what ``energy.path_from(base)`` returns if it exists, else a `GeometricPath`.

    Arguments:
        energy: end of the path; ``energy.path_from`` may return None for want of a special path.
        base: solvable start of the path.

    Returns:
        The path.
    """
    own = getattr(energy, "path_from", None)
    path: Path | None = None if own is None else own(base)
    return GeometricPath(base, energy) if path is None else path


def d_beta(energy: Energy, x: Tensor, cache: Cache) -> Tensor | None:
    """Return ``dU_beta/dbeta`` at x, along the path that the energy is a part of.

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
        space: space of all energies of the path.
        linear: whether U_beta is linear in beta, so that `d_beta` is the same at every beta.
        mark: number that identifies the path; no two paths of a process have the same.
    """

    space: Space
    linear: bool = False

    def __init__(self) -> None:
        self.mark = unique_mark()

    def at(self, beta: float) -> PathEnergy:
        """Return the energy at beta in [0, 1]; raise ValueError for any other beta."""
        check_beta(beta)
        return PathEnergy(self, beta)

    @abstractmethod
    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None, *, beta: float
    ) -> tuple[Tensor, Cache]:
        """Return energies U_beta (B,) and their cache, as `noneq.energies.evaluate` does.

        Arguments:
            x: positions (B, *shape).
            previous_cache: cache of the same x from this path, at any beta, or None.
            beta: position on the path, in [0, 1].
        """

    def d_beta(self, x: Tensor, cache: Cache, *, beta: float) -> Tensor | None:  # noqa: ARG002
        """Return ``dU_beta/dbeta`` (B,) at x, or None if that would cost further evaluations."""
        return None


class PathEnergy:
    """Represents the energy U_beta at one position beta of a `SnapshotPath`.

    Arguments:
        path: path, which has the formula of U_beta.
        beta: position on the path, in [0, 1].

    Attributes:
        gradient, gibbs, drift: the path's methods of these names at this beta; else absent.
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
        if hasattr(
            path, "drift"
        ):  # at any time, not at beta: a map needs it at both ends of a step
            self.drift = path.drift

    def __call__(self, x: Tensor) -> Tensor:
        """Return the energies (B,) of the rows of x."""
        return self.evaluate(x)[0]

    def fingerprint(self) -> Tensor:
        """Return the number that identifies the path, the same for all of its energies."""
        return self.path.mark

    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        """Return energies (B,) and their cache; ValueError for ``graph=True``."""
        if graph:
            raise ValueError("an energy on a path has no parameters to differentiate")
        return self.path.evaluate(x, previous_cache, beta=self.beta)

    def d_beta(self, x: Tensor, cache: Cache) -> Tensor | None:
        """Return ``dU_beta/dbeta`` (B,) at x, or None if that would cost further evaluations."""
        return self.path.d_beta(x, cache, beta=self.beta)


class ParameterPath:
    """Interpolates the parameters of two modules, ``(1 - beta) theta_0 + beta theta_1``.

    Between two RBMs every model is an RBM, so that block Gibbs sampling applies; the energies of a
    geometric path between two RBMs are not RBMs (Salakhutdinov and Murray 2008).

    Arguments:
        start: module at beta = 0, usually solvable.
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
        """Return a module with the parameters at beta in [0, 1]."""
        check_beta(beta)
        model, ends = copy.deepcopy(self.end), (self.start.state_dict(), self.end.state_dict())
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.lerp(ends[0][key], ends[1][key], beta))
        return model


class ModelsPath:
    """Leads from a base through several models, e.g. the checkpoints of one training.

    The first part of the path leads from the base to the first model (`path_to`), each other part
    from a model to the next by interpolated parameters (`ParameterPath`); all have equal lengths
    in beta. On a straight path to the last model walkers may all end in one mode of several;
    checkpoints separate the modes one by one. Source, with parallel tempering in place of
    annealing: Bereux et al. 2024 (arXiv 2405.15376).

    Arguments:
        base: solvable start of the path.
        models: models of one type, the last being the end; pass a copy of one still in training.

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
        """Return the energy at beta in [0, 1]."""
        check_beta(beta)
        along = beta * len(self.legs)
        leg = min(int(along), len(self.legs) - 1)
        return self.legs[leg].at(along - leg)


class GeometricPath(SnapshotPath):
    """Interpolates two energies, ``U_beta = (1 - beta) U_0 + beta U_1``: the geometric path.

    A cache keeps the energies of both ends: a change of beta at fixed x costs no evaluation.

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
        """Return ``{"u0": U_0, "g0": dU_0/dx, "du": U_1 - U_0, "dg": d(U_1 - U_0)/dx}`` at x."""
        u0, cache0 = evaluate(self.start, x)
        if self.tilt is not None:
            du, cache1 = evaluate(self.tilt, x)
        else:
            u1, cache1 = evaluate(self.end, x)
            du = torch.where(u1 == math.inf, math.inf, u1 - u0)  # outside of both, not inf - inf
        ends = {"u0": u0, "du": du}
        if _both(cache0, cache1):
            g0, g1 = cache0["g"], cache1["g"]
            ends |= {"g0": g0, "dg": g1 if self.tilt is not None else g1 - g0}
        return ends

    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None, *, beta: float
    ) -> tuple[Tensor, Cache]:
        """Return ``(1 - beta) U_0 + beta U_1`` (B,) and a cache, with the gradient if any."""
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
        """Return ``U_1 - U_0`` (B,), which is the same at every beta."""
        return cache.get("du")
