"""A session: a training run by a recipe, in memory, that can be put away and taken up again.

    for record in Session(recipe, data.train): ...

`noneq.train` is the loop; a session adds what a recipe decides over time (the fall of tau, the
moving average, the end) and a watch over divergence. Its ``state_dict`` is enough to go on with
the same bits, given the same recipe, data and number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from noneq.checkpoint import moved
from noneq.energies import Tilted
from noneq.models import Move, build
from noneq.recipe import Recipe
from noneq.training import Record, Trained, train
from noneq.trust import TrustRegion
from noneq.walkers import Walkers

__all__ = ["Session", "Watch"]


@dataclass
class Watch:
    """Tells a run that diverges by its running NLL; a smooth mean over ``memory`` iterations.

    It has diverged where that mean is more than ``margin`` nats above the first one (the base's)
    or above the best one so far.
    """

    margin: float
    memory: float = 0.96
    mean: float = math.nan
    first: float = math.nan
    best: float = math.inf
    anew: bool = False

    @property
    def healthy(self) -> bool:
        """Whether it is near its best: a state worth going back to."""
        return not self.mean - self.best > self.margin / 4

    def see(self, nll: float, *, renewed: bool = False) -> None:
        """Judge one iteration. One that ends in a renewal is the last under its log Z.

        Raises FloatingPointError when the run has diverged.
        """
        if math.isnan(nll):  # log Z unknown: nothing to judge by
            return
        if math.isnan(self.first):
            self.first = self.mean = nll
        if self.anew:
            self.mean, self.best = nll, math.inf
        self.anew = renewed
        self.mean = self.memory * self.mean + (1 - self.memory) * nll
        self.best = min(self.best, self.mean)
        if not self.mean - min(self.first, self.best) <= self.margin:
            raise FloatingPointError(
                f"the running NLL rose to {self.mean:.1f} nats from {self.best:.1f} "
                f"(at the base {self.first:.1f}): the model learns faster than its walkers mix"
            )


class Session:
    """Training by a recipe; iterate for its records until the budget is spent.

    Arguments:
        recipe: every choice.
        data: rows (M, *shape) to train on.
        seed: of the network, the clusters and all randomness.

    Attributes:
        energy: being trained.
        average: the moving average of its parameters: the model to keep.
        kernel: one move as the recipe starts it; the adapted one is in ``trained``.
        trained: where the run stands; None before the first iteration.
        seconds: of training so far, those before an interruption included.
        caution: tau is multiplied by it; 1 until the run is told to be careful.
    """

    def __init__(self, recipe: Recipe, data: Tensor, seed: int = 0) -> None:
        self.recipe = recipe
        self.data = data
        self.energy, self.kernel = build(recipe, data, seed)
        decay = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(self.energy, multi_avg_fn=decay)
        net = self.energy.net.parameters()
        self.optimizer = torch.optim.AdamW(net, lr=recipe.lr, weight_decay=recipe.decay)
        self.rng = torch.Generator(data.device).manual_seed(seed)
        self.trained: Trained | None = None
        self.seconds = 0.0
        self.caution = 1.0
        self.watch = Watch(margin=max(3.0, data[0].numel() / 20))

    @property
    def average(self) -> Tilted:
        """The moving average of the energy."""
        model = self._average.module
        assert isinstance(model, Tilted)
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
    def _fall(self) -> float:
        return self.recipe.fall(self.progress) * self.caution

    def __iter__(self) -> Iterator[Record]:
        """Train until the budget is spent.

        Raises FloatingPointError when the run has diverged, and whatever `noneq.train` raises.
        """
        before = self.seconds
        start = time.perf_counter()
        settings = self.recipe.settings()
        if settings.tau:
            settings = replace(settings, tau=settings.tau * self._fall)
        records = train(
            self.energy,
            self.data,
            settings,
            optimizer=self.optimizer,
            kernel=None if self.trained else self.kernel,
            rng=self.rng,
            resume=self.trained,
        )
        while self.progress < 1:
            self._set_speed()
            record = next(records)
            self._average.update_parameters(self.energy)
            self.trained = record.state
            self.seconds = before + time.perf_counter() - start
            self.watch.see(record.nll, renewed=bool(record.renewed))
            yield record

    def _set_speed(self) -> None:
        """Tau falls linearly, the learning rate of a run without a trust region as its root."""
        trust = self.trained.trust if self.trained else None
        if trust is not None:
            trust.tau = self.recipe.tau * self._fall
        if not self.recipe.tau:
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.lr * math.sqrt(self._fall)

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
            "trained": None if self.trained is None else _trained(self.trained, self.energy),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Be the session that a `state_dict` was made of."""
        self.seconds, self.caution = saved["seconds"], saved["caution"]
        self.watch = Watch(**saved["watch"])
        self.energy.load_state_dict(saved["energy"])
        self._average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.rng.set_state(saved["rng"])
        self.trained = None
        if saved["trained"] is not None:
            self.trained = self._restored(moved(saved["trained"], self.data.device))

    def _restored(self, saved: Mapping[str, Any]) -> Trained:
        held, trust = saved["held_out"], None
        if saved["trust"] is not None:
            trust = TrustRegion()
            trust.load_state_dict(saved["trust"])
        return Trained(
            saved["iteration"],
            Walkers.from_state_dict(saved["walkers"], self.energy),
            None if held is None else Walkers.from_state_dict(held, self.energy),
            replace(self.kernel, h=saved["step_size"]),
            trust,
        )


def _trained(trained: Trained, energy: Tilted) -> dict[str, Any]:
    assert isinstance(trained.kernel, Move)
    return {
        "iteration": trained.iteration,
        "walkers": trained.walkers.state_dict(energy),
        "held_out": trained.held_out and trained.held_out.state_dict(energy),
        "step_size": trained.kernel.h,
        "trust": trained.trust and trained.trust.state_dict(),
    }
