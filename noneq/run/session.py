"""A session: a training run by a recipe, in memory, that can be put away and taken up again.

    for record in Session(recipe, data.train): ...

What an iteration is, its learner knows (`noneq.run.learners`): `noneq.train`, or score matching. A
session adds what a recipe decides over time (speed, the moving average, the end) and a watch over
divergence. Its ``state_dict`` is enough to go on with the same bits, given the same recipe, data
and number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noneq.run.divergence import DivergenceMonitor
from noneq.run.families import Family, family_of
from noneq.run.learners import Observed, TrainingContext
from noneq.run.recipe import Recipe
from noneq.training import Matched, TrainState, moving_average

__all__ = ["Session"]


class Session:
    """Training by a recipe; iterate for its records until the budget is spent.

    Arguments:
        recipe: every choice.
        data: rows (M, *shape) to train on.
        seed: of the network, the clusters and all randomness.
        family: how such a model is built and trained; default: the family of the recipe's kind.

    Attributes:
        energy: being trained.
        average: the moving average of its parameters: the model to keep.
        kernel: one move as the recipe starts it; the adapted one is the learner's.
        learner: what an iteration is.
        seconds: of training so far, those before an interruption included.
        clock: that tells them, e.g. ``time.process_time`` where other work shares the machine; to
            be set before iterating.
        backoff: the speed is multiplied by it; 1 until the run is told to be careful.
    """

    clock = staticmethod(time.perf_counter)

    def __init__(
        self, recipe: Recipe, data: Tensor, seed: int = 0, *, family: Family | None = None
    ) -> None:
        self.recipe = recipe
        self.data = data
        self.family = family or family_of(recipe.kind)
        self.energy, self.kernel = self.family.build(recipe, data, seed)
        self._average = moving_average(self.energy, recipe.optimizer.ema)
        self.optimizer = self.family.optimizer(self.energy, recipe.optimizer)
        self.rng = torch.Generator(data.device).manual_seed(seed)
        self.seconds = 0.0
        self.backoff = 1.0
        self.learner = self.family.learner(
            TrainingContext(recipe, self.energy, data, self.kernel, self.optimizer, self.rng)
        )
        self.monitor = DivergenceMonitor(**self.learner.divergence_thresholds())

    @property
    def average(self) -> nn.Module:
        """The moving average of the energy."""
        model: nn.Module = self._average.module
        return model

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return self.trained.iteration if self.trained else 0

    @property
    def progress(self) -> float:
        """How much of the budget is spent."""
        return self.recipe.budget.progress(self.iteration, self.seconds)

    @property
    def trained(self) -> TrainState | Matched | None:
        """Where the learner stands; None before the first iteration. Set it to go on elsewhere."""
        trained: TrainState | Matched | None = self.learner.trained
        return trained

    @trained.setter
    def trained(self, state: TrainState | Matched | None) -> None:
        self.learner.trained = state

    def __iter__(self) -> Iterator[Observed]:
        """Train until the budget is spent.

        Raises FloatingPointError when the run has diverged, and whatever `noneq.train` raises.
        """
        if self.progress >= 1:
            return
        before = self.seconds
        start = self.clock()
        records = self.learner.iterate()
        while self.progress < 1:
            self.learner.set_rate(self.progress, self.backoff)
            record = next(records)
            self._average.update_parameters(self.energy)
            self.seconds = before + self.clock() - start
            value, anew = self.learner.monitored_metric(record)
            self.monitor.see(value, renewed=anew)
            yield record

    def state_dict(self) -> dict[str, Any]:
        """All that moves, as a tree of tensors and numbers."""
        return {
            "seconds": self.seconds,
            "backoff": self.backoff,
            "monitor": dict(vars(self.monitor)),
            "energy": self.energy.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "trained": self.learner.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Be the session that a `state_dict` was made of.

        With other rows, or a recipe of another budget, it goes on with those.
        """
        self.seconds, self.backoff = saved["seconds"], saved["backoff"]
        self.monitor = DivergenceMonitor(**saved["monitor"])
        self.energy.load_state_dict(saved["energy"])
        self._average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.rng.set_state(saved["rng"])
        self.learner.load_state_dict(saved["trained"])
