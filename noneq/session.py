"""A session: a training run by a recipe, in memory, that can be put away and taken up again.

    for record in Session(recipe, data.train): ...

What an iteration is, its learner knows (`noneq.learners`): `noneq.train`, or score matching. A
session adds what a recipe decides over time (speed, the moving average, the end) and a watch over
divergence. Its ``state_dict`` is enough to go on with the same bits, given the same recipe, data
and number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from noneq.averaging import moving_average
from noneq.interpolants import Matched
from noneq.learners import Event, Task, learner
from noneq.models import Model, build, groups
from noneq.recipe import Recipe
from noneq.training import Trained

__all__ = ["Session", "Watch"]

_TOLD = {
    "NLL": (" nats", "the model learns faster than its walkers mix"),
    "loss": ("", "the steps are too long"),
}


@dataclass
class Watch:
    """Tells a run that diverges by its running NLL, a smooth mean over some iterations.

    It has diverged where that mean is more than ``margin`` nats above the base's own NLL, above
    the best since log Z was known anew (the start, or a renewal), or above the best that was
    known so; or ``margin`` below what no model can be below. Nothing is judged before ``least``
    iterations have been seen.

    Arguments:
        base: NLL of the base.
        margin: in nats; more than a batch's mean may stray.
        least: iterations.
        floor: NLL that no model is below: 0 of discrete rows, whose probabilities are at most 1.
        kind: what is watched in place of the NLL may be the loss of score matching.
    """

    base: float
    margin: float
    least: int = 25
    seen: int = 0
    mean: float = math.nan
    best: float = math.inf
    known: float = math.inf
    floor: float = -math.inf
    kind: Literal["NLL", "loss"] = "NLL"

    @property
    def healthy(self) -> bool:
        """Whether it is near its best: a state worth going back to."""
        return self.seen < self.least or not self.mean - self.best > self.margin / 4

    def see(self, nll: float, *, renewed: bool = False) -> None:
        """Judge one iteration. One that ends in a renewal is the last under its log Z.

        Raises FloatingPointError when the run has diverged.
        """
        if math.isnan(nll):  # log Z unknown: nothing to judge by
            return
        self.seen += 1
        part = max(1 / self.seen, 1 / self.least)
        self.mean = nll if self.seen == 1 else self.mean + part * (nll - self.mean)
        if self.seen >= self.least:
            self.best = min(self.best, self.mean)
        if self.seen == self.least:
            self.known = min(self.known, self.mean)
        nats, why = _TOLD[self.kind]
        limit = min(self.base, self.best, self.known) + self.margin
        if nll == math.inf or (self.seen >= self.least and self.mean > limit):
            raise FloatingPointError(
                f"the running {self.kind} rose to {self.mean:.1f}{nats}, the limit is "
                f"{limit:.1f} (the base has {self.base:.1f}): {why}"
            )
        if self.seen >= self.least and self.mean < self.floor - self.margin:
            raise FloatingPointError(
                f"the running NLL fell to {self.mean:.1f} nats, which no model can have: log Z is "
                "lost, the model learns faster than its walkers mix"
            )
        if renewed:
            self.seen, self.best = 0, math.inf


class Session:
    """Training by a recipe; iterate for its records until the budget is spent.

    Arguments:
        recipe: every choice.
        data: rows (M, *shape) to train on.
        seed: of the network, the clusters and all randomness.

    Attributes:
        energy: being trained.
        average: the moving average of its parameters: the model to keep.
        kernel: one move as the recipe starts it; the adapted one is the learner's.
        learner: what an iteration is.
        seconds: of training so far, those before an interruption included.
        clock: that tells them, e.g. ``time.process_time`` where other work shares the machine; to
            be set before iterating.
        caution: the speed is multiplied by it; 1 until the run is told to be careful.
    """

    clock = staticmethod(time.perf_counter)

    def __init__(self, recipe: Recipe, data: Tensor, seed: int = 0) -> None:
        self.recipe = recipe
        self.data = data
        self.energy, self.kernel = build(recipe, data, seed)
        self._average = moving_average(self.energy, recipe.ema)
        self.optimizer = torch.optim.AdamW(groups(self.energy, recipe.decay), lr=recipe.lr)
        self.rng = torch.Generator(data.device).manual_seed(seed)
        self.seconds = 0.0
        self.caution = 1.0
        self.learner = learner(
            Task(recipe, self.energy, data, self.kernel, self.optimizer, self.rng)
        )
        self.watch = Watch(**self.learner.limits())

    @property
    def average(self) -> Model:
        """The moving average of the energy."""
        model = self._average.module
        assert isinstance(model, Model)
        return model

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return self.trained.iteration if self.trained else 0

    @property
    def progress(self) -> float:
        """How much of the budget is spent."""
        return self.recipe.progress(self.iteration, self.seconds)

    @property
    def trained(self) -> Trained | Matched | None:
        """Where the learner stands; None before the first iteration. Set it to go on elsewhere."""
        trained: Trained | Matched | None = self.learner.trained
        return trained

    @trained.setter
    def trained(self, state: Trained | Matched | None) -> None:
        self.learner.trained = state

    def __iter__(self) -> Iterator[Event]:
        """Train until the budget is spent.

        Raises FloatingPointError when the run has diverged, and whatever `noneq.train` raises.
        """
        if self.progress >= 1:
            return
        before = self.seconds
        start = self.clock()
        events = self.learner.iterate()
        while self.progress < 1:
            self.learner.pace(self.progress, self.caution)
            event = next(events)
            self._average.update_parameters(self.energy)
            self.seconds = before + self.clock() - start
            value, anew = self.learner.watched(event)
            self.watch.see(value, renewed=anew)
            yield event

    def state_dict(self) -> dict[str, Any]:
        """All that moves, as a tree of tensors and numbers."""
        return {
            "seconds": self.seconds,
            "caution": self.caution,
            "watch": dict(vars(self.watch)),
            "energy": self.energy.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "trained": self.learner.plain(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Be the session that a `state_dict` was made of."""
        self.seconds, self.caution = saved["seconds"], saved["caution"]
        self.watch = Watch(**saved["watch"])
        self.energy.load_state_dict(saved["energy"])
        self._average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.rng.set_state(saved["rng"])
        self.learner.restore(saved["trained"])
