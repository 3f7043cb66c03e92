"""The forward estimate of log Z: samples annealed from a solvable energy to the model.

Annealing may start at several energies (`noneq.likelihood.starts`); `best_of` chooses among the
estimates that result. `Plan` holds the settings that forward and backward annealing share.
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

MORE = 0.75  # share of the temperatures that annealing from another start has


@dataclass(frozen=True)
class Plan:
    """Holds those arguments of `noneq.log_z` that forward and backward annealing share.

    Attributes:
        n: number of walkers (weighted samples) annealed forward, and of those annealed backward.
        temperatures: number of steps of annealing from the base, or the schedule that it follows.
        equilibrate: number of moves under the model before backward annealing starts; None: the
            number of annealing steps.
        extra_starts: whether to anneal forward also from a mixture fitted to clusters of
            equilibrated chains, and from a wider base.
        kernel: transition kernel of one move, or None for the default.
        rng: source of randomness.
        track: progress display, as in `noneq.log_z`.
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
        """The number of annealing steps from the base to the model."""
        own = self.temperatures
        return len(own) if isinstance(own, Schedule) else own

    @property
    def more_steps(self) -> int:
        """The number of annealing steps from each of the two starts besides the base.

        These are a mixture and a wider base. It is 0 if ``extra_starts`` is false, else three
        quarters of `steps`.
        """
        return max(1, round(MORE * self.steps)) if self.extra_starts else 0

    @property
    def moves(self) -> int:
        """The number of moves by which chains equilibrate before they are annealed backward."""
        return self.steps if self.equilibrate is None else self.equilibrate


class Forward(NamedTuple):
    """Holds the result of annealing forward, from an energy with exact samples to the model.

    Attributes:
        walkers: weighted sample of the model.
        schedule: annealing schedule of the walkers, fixed before they started.
        path: path of energies from the one with exact samples to the model.
        fitted: whether the path starts at a mixture fitted to chains of the model.
    """

    walkers: Walkers
    schedule: Schedule
    path: Path
    fitted: bool

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
        """Anneal walkers (weighted samples) along a path, from exact samples of its start.

        Arguments:
            path: path of energies, from one with exact log Z and samples to the model.
            temperatures: number of steps, placed by a pilot run (annealing of a few samples that
                are then discarded), or a schedule used as it is.
            plan: settings that forward and backward annealing share.
            name: label of the progress display.
            fitted: whether the path starts at a mixture fitted to chains of the model.

        Returns:
            The walkers at the model, with their schedule and path.

        Raises:
            TooFarError: the pilot run does not reach the model.
            FloatingPointError: the energy is NaN or -inf at a walker.
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
        """The estimate of the model's log Z (nats), a lower bound on average, and its error."""
        return self.walkers.log_z


def best_of(sides: Sequence[Forward]) -> Forward:
    """Choose the best of several estimates of log Z by forward annealing.

    Each estimate is a lower bound on average, so that the highest is the best. One is
    significantly higher than another if it is larger by 0.1 nat and by two standard errors of the
    difference. The choice is among the estimates that no other one significantly exceeds: the one
    from the base, if it is the most precise; else the one from the mixture fitted to the chains,
    if its standard error is below 0.1 nat, since backward annealing from these chains to this
    mixture is precise, too; else the most precise.

    Arguments:
        sides: results of annealing to the model from different starts, the one from the base
            first.

    Returns:
        The chosen result, one of ``sides``.
    """

    def higher(a: LogZ, b: LogZ) -> bool:
        return a.value - b.value > max(0.1, 2 * math.hypot(a.stderr, b.stderr))

    first = [one for one in sides if not any(higher(other.log_z, one.log_z) for other in sides)]
    sharpest = min(first, key=lambda side: side.log_z.stderr)
    fitted = [side for side in first if side.fitted and side.log_z.stderr < 0.1]
    return sharpest if sharpest is sides[0] or not fitted else fitted[0]


def more_sides(energy: Energy, base: Solvable, chains: Tensor, plan: Plan) -> list[Forward]:
    """Anneal forward from two other distributions than the base, to find modes that it missed.

    One is a mixture fitted to the clusters of chains, the other is wider than the base. A result
    is left out where annealing fails to reach the model.

    Arguments:
        energy: the model.
        base: energy with exact samples, at which the first annealing started.
        chains: positions (N, *shape) of chains that have equilibrated under the model.
        plan: settings of `noneq.log_z`.

    Returns:
        The results of annealing whose log Z is finite, at most two.
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
