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

    Each call of ``at`` makes a new energy, which may offer ``d_beta(x, cache)``, see `d_beta`.
    """

    @property
    def start(self) -> Energy:
        """The energy at beta = 0, usually solvable."""

    def at(self, beta: float, /) -> Energy:
        """Return the energy at beta in [0, 1]."""


def path_to(energy: Energy, base: Solvable) -> Path:
    """Choose a path to an energy: its own ``path_from(base)``, else the geometric path.

    Arguments:
        energy: end of the path; its ``path_from`` may return None for a base it has no path from.
        base: start of the path.

    Returns:
        The path.
    """
    own = getattr(energy, "path_from", None)
    path: Path | None = None if own is None else own(base)
    return GeometricPath(base, energy) if path is None else path


def d_beta(energy: Energy, x: Tensor, cache: Cache) -> Tensor | None:
    """Return ``dU_beta/dbeta`` at x, along the path that the energy is a part of.

    Arguments:
        energy: energy U_beta; its own ``d_beta(x, cache)`` is used, see `PathEnergy.d_beta`.
        x: positions (B, *shape).
        cache: cache of x, made by an energy of the same path.

    Returns:
        The derivative (B,), or None for an energy on no path or where it would cost evaluations.
    """
    own = getattr(energy, "d_beta", None)
    found: Tensor | None = None if own is None else own(x, cache)
    return found


class SnapshotPath(ABC):
    """A snapshot path states its formulas with beta as an argument; its energies are `PathEnergy`.

    It is void once the parameters of an end have changed. A subclass sets ``start`` and ``space``,
    calls ``super().__init__()`` and defines `evaluate`. It may also define
    ``gradient(x, cache, *, beta)`` (`noneq.energies.gradient`), ``gibbs(x, cache, rng, *, beta)``
    (`noneq.energies.Conditional`) and ``drift(x, t)`` (`noneq.energies.Drifted`), which its
    energies then offer.

    Attributes:
        space: space of all energies of the path.
        linear: whether U_beta is linear in beta, so that `d_beta` is the same at every beta.
        mark: fingerprint of the energies; no two paths of a process have the same.
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
            previous_cache: cache of the same x, made by another energy of this path, or None.
            beta: position on the path, in [0, 1].
        """

    def d_beta(self, x: Tensor, cache: Cache, *, beta: float) -> Tensor | None:  # noqa: ARG002
        """Return ``dU_beta/dbeta`` (B,) from the cache; None where it costs evaluations."""
        return None


class PathEnergy:
    """Evaluates the formulas of a path at one beta, as the energy at that position.

    Arguments:
        path: path with the formulas.
        beta: position on the path, in [0, 1].

    Attributes:
        gradient, gibbs, drift: methods of the path at this beta, where it has them.
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
        """Return the path's mark: each beta is another object, so the mark suffices."""
        return self.path.mark

    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        """Return energies and their cache; raise ValueError where a graph is wanted."""
        if graph:
            raise ValueError("an energy on a path has no parameters to differentiate")
        return self.path.evaluate(x, previous_cache, beta=self.beta)

    def d_beta(self, x: Tensor, cache: Cache) -> Tensor | None:
        """Return ``dU_beta/dbeta`` (B,) at x from the cache; None where it costs evaluations."""
        return self.path.d_beta(x, cache, beta=self.beta)


class ParameterPath:
    """Mixes the parameters of two modules: ``theta_beta = (1 - beta) theta_0 + beta theta_1``.

    Between two RBMs all models are RBMs, whose conditional distributions can be sampled; on a
    geometric path they are not (Salakhutdinov and Murray 2008).

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

    The first leg leads from the base to the first model (`path_to`), the others mix the parameters
    of two neighbours (`ParameterPath`); each has an equal share of beta. On a straight path
    walkers may all end in one mode of several, which the models of a training separate gradually.
    Source, with exchanges in place of annealing: Bereux et al. 2024 (arXiv 2405.15376).

    Arguments:
        base: solvable start of the path.
        models: one or more models of one type, the last the end; copies, if still in training.

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

    The cache holds both ends, so that a change of beta at fixed positions costs no evaluation.

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
        """Return U_0 and its gradient at x, u0 and g0, and those of ``U_1 - U_0``, du and dg."""
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
        """Return ``U_0 + beta (U_1 - U_0)``, and its gradient where both ends have one."""
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
