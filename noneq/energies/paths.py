r"""Paths of energies, ``start`` and ``at(beta)``, and the one that leads to an energy.

`Path` is the protocol that annealing needs; any object with ``start`` and ``at(beta)`` is one. A
`SnapshotPath` states its formulas once, with beta as an argument, and each of its energies is a
`PathEnergy`, which fixes beta:

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
    """Energies from a start to an end, by any way between.

    ``at(0)`` is the start and ``at(1)`` the end. Each call makes an energy of its own: those of
    many temperatures are alive at a time. An energy may offer ``d_beta(x, cache)``, see `d_beta`.
    """

    @property
    def start(self) -> Energy:
        """The energy at beta = 0, usually solvable."""

    def at(self, beta: float, /) -> Energy:
        """The energy at beta in [0, 1]."""


def path_to(energy: Energy, base: Solvable) -> Path:
    """The path from a base to an energy: its own ``path_from(base)``, else the geometric one.

    An energy whose ``path_from`` returns None leaves that base to the geometric path.
    """
    own = getattr(energy, "path_from", None)
    path: Path | None = None if own is None else own(base)
    return GeometricPath(base, energy) if path is None else path


def d_beta(energy: Energy, x: Tensor, cache: Cache) -> Tensor | None:
    """``dU_beta/dbeta`` (B,) at x, along the path that the energy is a part of.

    Annealing orders walkers by it: it is what their next weights depend on.

    Arguments:
        energy: U_beta; its own ``d_beta(x, cache)`` is asked, see `PathEnergy.d_beta`.
        x: positions (B, *shape).
        cache: of x, made by an energy of the same path.

    Returns None for an energy that is on no path, and where the answer would cost evaluations.
    """
    own = getattr(energy, "d_beta", None)
    found: Tensor | None = None if own is None else own(x, cache)
    return found


class SnapshotPath(ABC):
    """A path that states its formulas with beta as an argument; its energies are `PathEnergy`.

    It is a snapshot: make a new one after the parameters of either end have changed. A subclass
    has a ``start`` and a ``space``, calls ``super().__init__()`` and defines `evaluate`. It may
    define, for its energies to offer, ``gradient(x, cache, *, beta)``, ``dU_beta/dx`` where the
    cache has none (`noneq.energies.slope`); ``gibbs(x, cache, rng, *, beta)``, one sweep of block
    Gibbs (`noneq.energies.Conditional`); and ``drift(x, t)``, the velocity that carries walkers
    along (`noneq.energies.Drifted`).

    Attributes:
        space: where all energies of the path live.
        linear: whether U_beta is linear in beta, so that `d_beta` at one beta tells all others.
        mark: the fingerprint of its energies; no two paths of a process have the same.
    """

    space: Space
    linear: bool = False

    def __init__(self) -> None:
        self.mark = unique_mark()

    def at(self, beta: float) -> PathEnergy:
        """The energy at beta in [0, 1]; ValueError for any other beta."""
        check_beta(beta)
        return PathEnergy(self, beta)

    @abstractmethod
    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None, *, beta: float
    ) -> tuple[Tensor, Cache]:
        """Energies U_beta (B,) and their cache, as `noneq.energies.evaluate` returns them.

        Arguments:
            x: positions (B, *shape).
            previous_cache: a cache of the same x, made by another energy of this path, or None.
            beta: in [0, 1].
        """

    def d_beta(self, x: Tensor, cache: Cache, *, beta: float) -> Tensor | None:  # noqa: ARG002
        """``dU_beta/dbeta`` (B,) from what is in the cache; None where that would cost more."""
        return None


class PathEnergy:
    """The energy at one place of a path: the path's formulas at one beta.

    Arguments:
        path: has the formulas.
        beta: in [0, 1].

    It has no parameters of its own: ``evaluate(graph=True)`` raises ValueError.
    """

    # bound only where the path has the formula, since kernels ask what an energy offers
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
        if hasattr(path, "drift"):  # at any time: a map asks for it at both ends of a step
            self.drift = path.drift

    def __call__(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        return self.evaluate(x)[0]

    def fingerprint(self) -> Tensor:
        """The path's mark: with the object it tells one beta from another."""
        return self.path.mark

    def evaluate(
        self, x: Tensor, previous_cache: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        """Energies and their cache; a cache of another beta saves what does not depend on it."""
        if graph:
            raise ValueError("an energy on a path has no parameters to differentiate")
        return self.path.evaluate(x, previous_cache, beta=self.beta)

    def d_beta(self, x: Tensor, cache: Cache) -> Tensor | None:
        """``dU_beta/dbeta`` (B,) from the cache of x; None where that would cost evaluations."""
        return self.path.d_beta(x, cache, beta=self.beta)


class ParameterPath:
    r"""Two modules of a kind, mixed: ``theta_beta = (1 - beta) theta_0 + beta theta_1``.

    Between two RBMs the models in between are RBMs, which a geometric path's are not: their
    conditional distributions can be sampled (Salakhutdinov and Murray 2008).

    Arguments:
        start: at beta = 0, usually solvable.
        end: at beta = 1, of the same type and shapes.
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
        """The module at beta in [0, 1]."""
        check_beta(beta)
        model, ends = copy.deepcopy(self.end), (self.start.state_dict(), self.end.state_dict())
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.lerp(ends[0][key], ends[1][key], beta))
        return model


class ModelsPath:
    r"""From a base through models on the way, e.g. those that a training left behind.

    The first leg leads from the base to the first model (`path_to`), the others mix the parameters
    of two neighbours (`ParameterPath`); each has an equal share of beta. On a straight path to a
    model of several modes there may be a transition at which walkers all end in one of them; the
    models of a training part them little by little. Exchanges in place of annealing: Bereux,
    Decelle, Furtlehner, Rosset, Seoane 2024 (arXiv 2405.15376).

    Arguments:
        base: solvable.
        models: one or more of a kind, the last the path's end: copies, if one still learns.

    Raises ValueError without models, or where two are not of the same type and shapes.
    """

    def __init__(self, base: Solvable, models: Sequence[nn.Module]) -> None:
        if not models:
            raise ValueError("a path through models needs one or more of them, got none")
        between = itertools.starmap(ParameterPath, itertools.pairwise(models))
        self.start = base
        self.legs: tuple[Path, ...] = (path_to(models[0], base), *between)

    def at(self, beta: float) -> Energy:
        """The energy at beta in [0, 1]."""
        check_beta(beta)
        along = beta * len(self.legs)
        leg = min(int(along), len(self.legs) - 1)
        return self.legs[leg].at(along - leg)


class GeometricPath(SnapshotPath):
    r"""``U_beta = (1 - beta) U_0 + beta U_1``: the path of `noneq.annealing.anneal`.

    ``path.at(beta)`` is an energy. A walker that stays where it is and only sees beta change costs
    nothing: the cache holds both ends.

    Arguments:
        start: U_0, usually solvable.
        end: U_1.
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
        """Energies and gradients of both ends at x: u0, g0, du = U_1 - U_0 and its gradient dg."""
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
        """``U_0 + beta (U_1 - U_0)``, and its gradient where both ends have one."""
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
        """``U_1 - U_0``, the same at every beta."""
        return cache.get("du")
