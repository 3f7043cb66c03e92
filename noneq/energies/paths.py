"""Paths of energies, ``start`` and ``at(beta)``, and the one that leads to an energy."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from noneq.energies.base import Cache, Energy, Solvable, check_beta, evaluate
from noneq.energies.composite import Tilted, _both, _common_space, _plus
from noneq.energies.fingerprint import new_mark

__all__ = ["GeometricPath", "ParameterPath", "Path", "Through", "path_to"]


@runtime_checkable
class Path(Protocol):
    """Energies from a start to an end, by any way between.

    ``at(0)`` is the start and ``at(1)`` the end. Each call makes an energy of its own: those of
    many temperatures are alive at a time.
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


class Through:
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


class GeometricPath:
    r"""``U_beta = (1 - beta) U_0 + beta U_1``: the path of `noneq.annealing.anneal`.

    ``path.at(beta)`` is an energy. A walker that stays where it is and only sees beta change costs
    nothing: the cache holds both ends. A path is a snapshot: make a new one after the parameters
    of either end have changed.

    Arguments:
        start: U_0, usually solvable.
        end: U_1.
    """

    def __init__(self, start: Energy, end: Energy) -> None:
        self.start = start
        self.end = end
        self.space = _common_space(start, end)
        # start and end share their base: U_beta = U_0 + beta f, evaluated as such
        self.tilt: Energy | None = (
            end.net if isinstance(end, Tilted) and end.base is start else None
        )
        self.mark = new_mark()

    def at(self, beta: float) -> _OnPath:
        """The energy at inverse temperature beta in [0, 1]."""
        check_beta(beta)
        return _OnPath(self, beta)

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


class _OnPath:
    """One energy of a geometric path."""

    def __init__(self, path: GeometricPath, beta: float) -> None:
        self.path = path
        self.beta = beta
        self.space = path.space

    def __call__(self, x: Tensor) -> Tensor:
        return self.evaluate(x)[0]

    def fingerprint(self) -> Tensor:
        return self.path.mark

    def evaluate(
        self, x: Tensor, was: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        if graph:
            raise ValueError("an annealed energy has no parameters to differentiate")
        ends = dict(was) if was is not None and "du" in was else self.path.ends(x)
        u = _plus(ends["u0"], self.beta, ends["du"])
        if "g0" not in ends:
            return u, ends
        return u, {**ends, "g": _plus(ends["g0"], self.beta, ends["dg"])}
