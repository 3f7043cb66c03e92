"""What one iteration of a session is: weighted maximum likelihood, or score matching.

A learner keeps what goes on from one iteration to the next besides parameters, optimiser and
generator, which are the session's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from noneq.likelihood.score import mean_energy
from noneq.models.interpolants import TimedEnergy
from noneq.run.checkpoint import moved
from noneq.run.models import Model, Move, at_step
from noneq.run.recipe import Recipe
from noneq.spaces import Discrete, space_of
from noneq.training import Matched, Record, TrainState, TrustRegion, match, train
from noneq.walkers import Walkers

__all__ = ["Event", "Learner", "Likelihood", "Matching", "Task", "learner"]

#: what an iteration tells
Event: TypeAlias = Record | Matched


@dataclass(frozen=True)
class Task:
    """What is learned, from what and by what: a session's own, shared with its learner."""

    recipe: Recipe
    energy: Model
    data: Tensor
    kernel: Move
    optimizer: torch.optim.Optimizer
    rng: torch.Generator


class Learner(Protocol):
    """A way to learn.

    Attributes:
        trained: where it stands, a `TrainState` or a `Matched`; None before the first iteration.
    """

    trained: Any

    def limits(self) -> dict[str, Any]:
        """What a `noneq.run.divergence.Watch` of it begins with."""

    def iterate(self) -> Iterator[Event]:
        """Go on from ``trained`` for as long as the caller iterates."""

    def pace(self, progress: float, caution: float) -> None:
        """Set the speed of the next iteration by how much of the budget is spent."""

    def watched(self, event: Event) -> tuple[float, bool]:
        """The number that tells whether it diverges, and whether it begins anew."""

    def plain(self) -> dict[str, Any] | None:
        """``trained`` as a tree of tensors and numbers."""

    def restore(self, saved: Mapping[str, Any] | None) -> None:
        """Stand where `plain` was told."""


class Likelihood:
    """Weighted maximum likelihood, `noneq.train`: tau falls, or the learning rate."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.trained: TrainState | None = None
        self.fall = 1.0  # of the speed

    def limits(self) -> dict[str, Any]:
        """The base's NLL, and what a batch's may stray."""
        task, base = self.task, self.task.energy.base
        noise = task.recipe.noise
        rows = mean_energy(base, task.data[:5000], noise=noise, draws=1) + base.log_z()
        stray = 5 * float(rows.std()) / math.sqrt(task.recipe.batch)
        return {
            "base": float(rows.mean()),
            "margin": max(3.0, task.data[0].numel() / 20) + stray,
            "floor": 0.0 if isinstance(space_of(base), Discrete) else -math.inf,
        }

    def iterate(self) -> Iterator[Record]:
        """Records, ``trained`` their state."""
        task, settings = self.task, self.task.recipe.settings()
        if settings.tau:
            settings = replace(settings, tau=settings.tau * self.fall)
        records = train(
            task.energy,
            task.data,
            settings,
            optimizer=task.optimizer,
            kernel=None if self.trained else task.kernel,
            rng=task.rng,
            resume=self.trained,
        )
        for record in records:
            self.trained = record.state
            yield record

    def pace(self, progress: float, caution: float) -> None:
        """Tau falls linearly, the learning rate of a run without a trust region as its root."""
        recipe, trust = self.task.recipe, self.trained.trust if self.trained else None
        self.fall = recipe.fall(progress) * caution
        if trust is not None:
            trust.tau = recipe.tau * self.fall
        if not recipe.tau:
            _set_rate(self.task.optimizer, recipe.lr * math.sqrt(self.fall))

    def watched(self, event: Event) -> tuple[float, bool]:
        """The running NLL; a renewal knows log Z anew."""
        assert isinstance(event, Record)
        return event.nll, bool(event.renewed)

    def plain(self) -> dict[str, Any] | None:
        """Walkers, step size, trust region."""
        trained, energy = self.trained, self.task.energy
        if trained is None:
            return None
        assert isinstance(trained.kernel, Move)
        return {
            "iteration": trained.iteration,
            "walkers": trained.walkers.state_dict(energy),
            "held_out": trained.held_out and trained.held_out.state_dict(energy),
            "step_size": getattr(trained.kernel, "h", math.nan),
            "trust": trained.trust and trained.trust.state_dict(),
        }

    def restore(self, saved: Mapping[str, Any] | None) -> None:
        """On the data's device."""
        self.trained = None
        if saved is None:
            return
        saved, energy = moved(saved, self.task.data.device), self.task.energy
        held, trust = saved["held_out"], None
        if saved["trust"] is not None:
            trust = TrustRegion()
            trust.load_state_dict(saved["trust"])
        self.trained = TrainState(
            saved["iteration"],
            Walkers.from_state_dict(saved["walkers"], energy),
            None if held is None else Walkers.from_state_dict(held, energy),
            at_step(self.task.kernel, saved["step_size"]),
            trust,
        )


class Matching:
    """Denoising score matching, `noneq.training.match`: the learning rate falls to 0."""

    def __init__(self, task: Task, energy: TimedEnergy) -> None:
        self.task = task
        self.energy = energy
        self.trained: Matched | None = None

    def limits(self) -> dict[str, Any]:
        """The base's loss, and what a batch's may stray; no score at all has a loss of 1."""
        energy, data = self.energy, self.task.data
        rng = torch.Generator(data.device).manual_seed(0)
        size = (16, self.task.recipe.batch)
        which = torch.randint(len(data), size, generator=rng, device=data.device)
        losses = torch.stack([energy.score_loss(data[rows], rng).detach() for rows in which])
        stray = 5 * float(losses.std())
        return {"base": float(losses.mean()), "margin": 1.0 + stray, "kind": "loss"}

    def iterate(self) -> Iterator[Matched]:
        """Records of `match`, ``trained`` the last."""
        task = self.task
        for event in match(
            self.energy,
            task.data,
            batch=task.recipe.batch,
            optimizer=task.optimizer,
            rng=task.rng,
            done=self.trained.iteration if self.trained else 0,
        ):
            self.trained = event
            yield event

    def pace(self, progress: float, caution: float) -> None:
        """``lr (1 + cos(pi progress)) / 2``."""
        rate = self.task.recipe.lr * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        _set_rate(self.task.optimizer, rate * caution)

    def watched(self, event: Event) -> tuple[float, bool]:
        """The loss."""
        return event.loss, False

    def plain(self) -> dict[str, Any] | None:
        """The iterations done."""
        return {"iteration": self.trained.iteration} if self.trained else None

    def restore(self, saved: Mapping[str, Any] | None) -> None:
        """There is nothing else to restore."""
        self.trained = None
        if saved is not None:
            self.trained = Matched(saved["iteration"], 0.0, math.nan, math.nan)


def learner(task: Task) -> Learner:
    """The way in which a recipe's model learns."""
    if isinstance(task.energy, TimedEnergy):
        return Matching(task, task.energy)
    return Likelihood(task)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
