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
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from noneq.checkpoint import moved
from noneq.likelihood import mean_energy
from noneq.models import Model, Move, at_step, build, groups
from noneq.recipe import Recipe
from noneq.spaces import Discrete, space_of
from noneq.training import Record, Trained, train
from noneq.trust import TrustRegion
from noneq.walkers import Walkers

__all__ = ["Session", "Watch"]

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


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
    """

    base: float
    margin: float
    least: int = 25
    seen: int = 0
    mean: float = math.nan
    best: float = math.inf
    known: float = math.inf
    floor: float = -math.inf

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
        limit = min(self.base, self.best, self.known) + self.margin
        if nll == math.inf or (self.seen >= self.least and self.mean > limit):
            raise FloatingPointError(
                f"the running NLL rose to {self.mean:.1f} nats, the limit is {limit:.1f} (the "
                f"base has {self.base:.1f}): the model learns faster than its walkers mix"
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
        kernel: one move as the recipe starts it; the adapted one is in ``trained``.
        trained: where the run stands; None before the first iteration.
        seconds: of training so far, those before an interruption included.
        caution: tau is multiplied by it; 1 until the run is told to be careful.
    """

    def __init__(self, recipe: Recipe, data: Tensor, seed: int = 0) -> None:
        self.recipe = recipe
        self.data = data
        self.energy, self.kernel = build(recipe, data, seed)
        self._average = AveragedModel(self.energy, multi_avg_fn=self._lerp)
        self.optimizer = torch.optim.AdamW(groups(self.energy, recipe.decay), lr=recipe.lr)
        self.rng = torch.Generator(data.device).manual_seed(seed)
        self.trained: Trained | None = None
        self.seconds = 0.0
        self.caution = 1.0
        base = self.energy.base
        rows = mean_energy(base, data[:5000], noise=recipe.noise, draws=1) + base.log_z()
        stray = 5 * float(rows.std()) / math.sqrt(recipe.batch)
        margin = max(3.0, data[0].numel() / 20) + stray
        floor = 0.0 if isinstance(space_of(base), Discrete) else -math.inf
        self.watch = Watch(float(rows.mean()), margin=margin, floor=floor)

    def _lerp(self, average: Tensors, now: Tensors, count: Tensor | int) -> None:
        """``average <- d average + (1 - d) now``, d smaller at first: the start is forgotten."""
        decay = min(self.recipe.ema, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(average, now, 1 - decay)

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
    def _fall(self) -> float:
        return self.recipe.fall(self.progress) * self.caution

    def __iter__(self) -> Iterator[Record]:
        """Train until the budget is spent.

        Raises FloatingPointError when the run has diverged, and whatever `noneq.train` raises.
        """
        if self.progress >= 1:
            return
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
            at_step(self.kernel, saved["step_size"]),
            trust,
        )


def _trained(trained: Trained, energy: Model) -> dict[str, Any]:
    assert isinstance(trained.kernel, Move)
    return {
        "iteration": trained.iteration,
        "walkers": trained.walkers.state_dict(energy),
        "held_out": trained.held_out and trained.held_out.state_dict(energy),
        "step_size": getattr(trained.kernel, "h", math.nan),
        "trust": trained.trust and trained.trust.state_dict(),
    }
