"""The forward side of a bracket: walkers annealed from a start to the model.

Annealing may start at several energies (`noneq.likelihood.starts`); `best_of` chooses among the
walkers that arrive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from noneq.annealing import Schedule, TooFarError, Track, population
from noneq.energies import (
    Energy,
    Path,
    Solvable,
    path_to,
)
from noneq.kernels import Kernel
from noneq.likelihood.starts import fitted_mixture, wider
from noneq.walkers import LogZ, Walkers

__all__ = ["Forward", "Plan", "best_of", "more_sides"]

MORE = 0.75  # of the temperatures, for annealing from another start


@dataclass(frozen=True)
class Plan:
    """What all phases of a bracket share: the arguments of `noneq.log_z` that have these names.

    Attributes:
        n: walkers of each side.
        temperatures: steps of the first annealing, or the schedule that it follows.
        equilibrate: moves under the model before the backward side starts; None: as many as
            temperatures.
        extra_starts: whether to anneal from other starts, too.
        kernel: one move, or None for the default.
        rng: source of randomness.
        track: shows progress.
    """

    n: int
    temperatures: int | Schedule
    equilibrate: int | None
    extra_starts: bool
    kernel: Kernel | None
    rng: torch.Generator
    track: Track

    @property
    def steps(self) -> int:
        """How many temperatures the first annealing has."""
        own = self.temperatures
        return len(own) if isinstance(own, Schedule) else own

    @property
    def more_steps(self) -> int:
        """How many temperatures an annealing from another start has; 0 if there is none."""
        return max(1, round(MORE * self.steps)) if self.extra_starts else 0

    @property
    def moves(self) -> int:
        """How many moves equilibrate the chains before the backward side starts."""
        return self.steps if self.equilibrate is None else self.equilibrate


class Forward(NamedTuple):
    """Walkers annealed from a start to the model, and what they followed."""

    walkers: Walkers
    """a weighted sample of the model"""
    schedule: Schedule
    """their temperatures and kernels, frozen before they started"""
    path: Path
    """the energies from their start to the model"""
    fitted: bool
    """whether they started at a mixture fitted to the model's own chains"""

    @classmethod
    def along(
        cls,
        path: Path,
        temperatures: int | Schedule,
        plan: Plan,
        name: str = "forward",
        *,
        fitted: bool = False,
    ) -> Forward:
        """Anneal walkers along a path.

        Arguments:
            path: from a solvable energy to the model.
            temperatures: steps, shaped by a pilot run, or a schedule used as it is.
            plan: what all phases share.
            name: what the progress is called.
            fitted: whether the path starts at a mixture fitted to the model's own chains.

        Raises:
            TooFarError: the pilot does not arrive.
            FloatingPointError: the energy is NaN or -inf where the walkers are.
        """
        walkers, schedule = population(
            path,
            plan.n,
            temperatures,
            rng=plan.rng,
            kernel=plan.kernel,
            track=plan.track,
            name=name,
        )
        return cls(walkers, schedule, path, fitted)

    @property
    def log_z(self) -> LogZ:
        """log Z of the model by these walkers: on average over runs a lower bound."""
        return self.walkers.log_z


def best_of(sides: Sequence[Forward]) -> Forward:
    """The one of several forward sides whose log Z is to be believed.

    Each is a lower bound on average, so that the highest is the best. A side leads another if its
    log Z is larger by 0.1 nat and by two standard errors of the difference: a smaller lead may be
    noise. Of those that no other leads it is the first, if that is the most precise; else the one
    that is fitted to the chains, if it is as precise as a bracket must be, since its way back fits
    them; else the most precise.

    Arguments:
        sides: one or more, the one from the base first.
    """

    def leads(a: LogZ, b: LogZ) -> bool:
        return a.value - b.value > max(0.1, 2 * math.hypot(a.stderr, b.stderr))

    first = [one for one in sides if not any(leads(other.log_z, one.log_z) for other in sides)]
    sharpest = min(first, key=lambda side: side.log_z.stderr)
    fitted = [side for side in first if side.fitted and side.log_z.stderr < 0.1]
    return sharpest if sharpest is sides[0] or not fitted else fitted[0]


def more_sides(energy: Energy, base: Solvable, chains: Tensor, plan: Plan) -> list[Forward]:
    """Forward sides that start at the chains' clusters and at a wider base.

    A start from which walkers do not arrive says nothing, and is left out.

    Arguments:
        energy: the model.
        base: where the first side started.
        chains: positions (N, *shape) of chains that have equilibrated under the model.
        plan: what all phases share.
    """
    found = []
    starts = {"the clusters": fitted_mixture(energy, chains), "far out": wider(base, plan.rng)}
    for name, start in starts.items():
        if start is None:
            continue
        with suppress(TooFarError, FloatingPointError):
            path, fitted = path_to(energy, start), name == "the clusters"
            name = f"forward from {name}"
            side = Forward.along(path, plan.more_steps, plan, name, fitted=fitted)
            if math.isfinite(side.log_z.value):
                found.append(side)
    return found
