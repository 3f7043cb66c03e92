"""Walkers annealed from a start to the model, for a bracket; which of several to take."""

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
    """What all phases of a bracket share: arguments of `log_z`."""

    n: int
    temperatures: int | Schedule
    equilibrate: int | None
    extra_starts: bool
    kernel: Kernel | None
    rng: torch.Generator
    track: Track

    @property
    def steps(self) -> int:
        """Of the first way."""
        own = self.temperatures
        return len(own) if isinstance(own, Schedule) else own

    @property
    def more_steps(self) -> int:
        """Of the ways from other starts."""
        return max(1, round(MORE * self.steps)) if self.extra_starts else 0

    @property
    def moves(self) -> int:
        """Under the model, before the way back."""
        return self.steps if self.equilibrate is None else self.equilibrate


class Forward(NamedTuple):
    """Walkers annealed from a start to the model, and what they followed."""

    walkers: Walkers
    schedule: Schedule
    path: Path
    fitted: bool
    """whether it started at a mixture fitted to the model's own chains"""

    @classmethod
    def along(
        cls,
        path: Path,
        temperatures: int | Schedule,
        how: Plan,
        name: str = "forward",
        *,
        fitted: bool = False,
    ) -> Forward:
        """Anneal walkers along a path."""
        walkers, schedule = population(
            path, how.n, temperatures, rng=how.rng, kernel=how.kernel, track=how.track, name=name
        )
        return cls(walkers, schedule, path, fitted)

    @property
    def log_z(self) -> LogZ:
        """A lower bound on average."""
        return self.walkers.log_z


def best_of(sides: Sequence[Forward]) -> Forward:
    """The side that is not behind another by 0.1 nat and two errors of the difference.

    Each is a lower bound on average, so that the highest is the best; a lead within the errors
    would only add their noise. Of those that nobody leads the first, if it is the most precise;
    else the one that is fitted to the chains, if it is as precise as a bracket must be, since its
    way back fits them; else the most precise.
    """

    def leads(a: LogZ, b: LogZ) -> bool:
        return a.value - b.value > max(0.1, 2 * math.hypot(a.stderr, b.stderr))

    first = [one for one in sides if not any(leads(other.log_z, one.log_z) for other in sides)]
    sharpest = min(first, key=lambda side: side.log_z.stderr)
    fitted = [side for side in first if side.fitted and side.log_z.stderr < 0.1]
    return sharpest if sharpest is sides[0] or not fitted else fitted[0]


def more_sides(energy: Energy, base: Solvable, chains: Tensor, how: Plan) -> list[Forward]:
    """Annealing from the chains' clusters and from a wider base, where they arrive."""
    found = []
    starts = {"the clusters": fitted_mixture(energy, chains), "far out": wider(base, how.rng)}
    for name, start in starts.items():
        if start is None:
            continue
        # one that does not arrive says nothing
        with suppress(TooFarError, FloatingPointError):
            path, fitted = path_to(energy, start), name == "the clusters"
            name = f"forward from {name}"
            side = Forward.along(path, how.more_steps, how, name, fitted=fitted)
            if math.isfinite(side.log_z.value):
                found.append(side)
    return found
