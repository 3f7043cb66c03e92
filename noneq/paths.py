r"""Paths: anything with ``start`` and ``at(beta) -> energy``; which one leads to an energy."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from noneq.energies import Energy, GeometricPath, Solvable, check_beta

__all__ = ["ParameterPath", "Path", "Through", "path_to"]


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
