"""The first stage of a training: networks learn by denoising score matching, each on its own.

The networks of `ScoreMatchingStage` learn energies U(x, t) at all times t of a path from a
Gaussian to the data. What is kept are the averaged parameters under which the loss of the
validation rows is lowest, since few rows are soon memorised.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noneq.annealing import Schedule, adapt_steps, population
from noneq.energies import Gaussian, GaussianMixture
from noneq.kernels import Chain, EulerMaruyama
from noneq.models import Averaged, Whitened, single_networks
from noneq.models.interpolants import EnergyPath, TimedEnergy
from noneq.random import seeded
from noneq.run.checkpoint import moved
from noneq.run.learners import TrainingContext
from noneq.run.recipe import Recipe
from noneq.training import (
    ScoreMatchingRecord,
    TrainState,
    TrustRegion,
    match,
    moving_average,
)
from noneq.training.rates import cosine, set_learning_rate

__all__ = ["ScoreMatchingStage", "iterations_of_scores"]

RATE, DECAY, EMA, BATCH = 2e-3, 0.3, 0.999, 512  # of the optimiser and average of this stage
GAIN = 3.0  # of the first layer, as in `noneq.models.MLP`
ITERATIONS, TIME = 0.75, 0.4  # of the budget that score matching may take
STEPS = 100  # Euler-Maruyama steps by which walkers are carried to the model
NEAREST = 0.03  # of the width of the base: how near to the data scores are learned
LOOK, ROWS = 50, 4000  # iterations between looks at the validation rows, and noisy rows of a look
PATIENCE = 10  # looks without a lower loss that end the stage, if the best took no longer


def iterations_of_scores(recipe: Recipe) -> int:
    """Compute the largest number of iterations of score matching with which a training begins.

    Arguments:
        recipe: all settings of the training.

    Returns:
        The number, at most three quarters of all iterations; 0: there is no score matching.
    """
    most, budget = getattr(recipe.train, "score_matching", None) or 0, recipe.budget.iterations
    return most if budget is None else min(most, math.floor(ITERATIONS * budget))


class _Separately(nn.Module):
    """An energy of averaged networks, whose loss is the sum of the losses of each network."""

    def __init__(self, energies: list[TimedEnergy]) -> None:
        super().__init__()
        self.energies = nn.ModuleList(energies)
        self.noise = energies[0].noise

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([energy(x) for energy in self.energies]).mean(0)

    def score_loss(self, x: Tensor, rng: torch.Generator) -> Tensor:
        losses = [energy.score_loss(x, rng) for energy in self.energies]  # type: ignore[operator]
        return torch.stack(losses).sum()


class _Best:
    """The averaged networks with the lowest loss of the validation rows so far.

    Arguments:
        rows: validation rows (M, *shape), without noise; None: the last networks are the best.
        seed: seed of the random numbers of the loss, the same at every look.

    Attributes:
        loss: lowest loss; infinite before the first look.
        iteration: iteration of the lowest loss.
        nets: networks that had it; None before the first look.
    """

    def __init__(self, rows: Tensor | None, seed: int) -> None:
        self.seed, self.loss, self.iteration = seed, math.inf, 0
        self.nets: nn.Module | None = None
        self.rows = None
        if rows is not None and len(rows):
            self.rows = rows.repeat(-(-ROWS // len(rows)), *[1] * (rows.dim() - 1))[:ROWS]

    def see(self, energy: TimedEnergy, nets: nn.Module, iteration: int) -> None:
        """Compute the loss of an energy made of networks, and keep these if it is the lowest."""
        if self.rows is None:
            return
        rng = torch.Generator(self.rows.device).manual_seed(self.seed)
        loss = float(energy.score_loss(self.rows, rng, dropout=False).detach())
        if loss < self.loss:
            self.loss, self.iteration = loss, iteration
            self.nets = copy.deepcopy(nets)

    def finished(self, iteration: int) -> bool:
        """Return whether the loss has not fallen for long enough."""
        since = iteration - self.iteration
        return self.nets is not None and since >= max(PATIENCE * LOOK, self.iteration)

    def state_dict(self) -> dict[str, Any]:
        """Return the lowest loss and its networks, for a checkpoint."""
        nets = None if self.nets is None else self.nets.state_dict()
        return {"loss": self.loss, "iteration": self.iteration, "nets": nets}

    def load_state_dict(self, saved: Mapping[str, Any], like: nn.Module) -> None:
        """Set the state from a dictionary that `state_dict` returned, for networks like these."""
        self.loss, self.iteration, self.nets = saved["loss"], saved["iteration"], None
        if saved["nets"] is not None:
            self.nets = copy.deepcopy(like)
            self.nets.load_state_dict(saved["nets"])


class ScoreMatchingStage:
    """The networks of a model while they learn by denoising score matching, and their average.

    Where training adds noise to the rows, scores of noisy rows are learned. Otherwise they are
    learned up to a time when noise is left that is 0.03 times as wide as the base.

    Arguments:
        context: model, data, settings and random numbers of the training.

    Attributes:
        nets: networks f_j(x, t) that are trained.
        average: their parameters' moving averages over the iterations.
        best: the averages that are kept.
        record: record of the last iteration; None before the first one.
        progress: fraction of this stage that is done, 1 at its end.
    """

    def __init__(self, context: TrainingContext) -> None:
        recipe, base = context.recipe, context.energy.base
        assert isinstance(base, Gaussian | GaussianMixture)
        outer = context.energy.net
        assert isinstance(outer, nn.Module)
        with seeded(context.rng.initial_seed()):
            nets = [
                net.timed(gain=GAIN, dropout=recipe.model.dropout)
                for net in single_networks(outer)
            ]
        self.context, self.base = context, base
        self.nets = nn.ModuleList(nets).to(context.data.device)
        self.noise = recipe.train.noise
        self.average = moving_average(self.nets, EMA)
        self.optimizer = torch.optim.AdamW(self.nets.parameters(), lr=RATE, weight_decay=DECAY)
        self.best = _Best(context.validation, context.rng.initial_seed())
        self.record: ScoreMatchingRecord | None = None
        self.progress = 0.0

    def set_rate(self, progress: float, backoff: float) -> None:
        """Set the learning rate, which falls along a cosine, from the progress of the training."""
        recipe = self.context.recipe
        budget = recipe.budget.iterations
        most = iterations_of_scores(recipe)
        done = self.record.iteration if self.record else 0
        self.progress = done / most
        if budget is None:
            self.progress = max(self.progress, progress / TIME)
        set_learning_rate(self.optimizer, RATE * cosine(self.progress) * backoff)
        if done and done % LOOK == 0 and self.best.finished(done):
            self.progress = 1.0

    def iterate(self) -> Iterator[ScoreMatchingRecord]:
        """Yield the record of each iteration, until ``progress`` is 1."""
        context = self.context
        energy = _Separately([self._timed(net) for net in self.nets])
        averaged = self._timed(Averaged(self._averages()))
        records = match(
            energy.to(context.data.device),  # type: ignore[arg-type]
            context.data,
            batch=min(BATCH, context.recipe.train.batch),
            optimizer=self.optimizer,
            rng=context.rng,
            done=self.record.iteration if self.record else 0,
        )
        while self.progress < 1:
            self.record = next(records)
            self.average.update_parameters(self.nets)
            if self.record.iteration % LOOK == 0:
                self.best.see(averaged, self.average.module, self.record.iteration)
            yield self.record

    def _timed(self, net: nn.Module) -> TimedEnergy:
        if isinstance(outer := self.context.energy.net, Whitened):
            net = outer.around(net)
        nearest = 0.0 if self.noise else NEAREST
        timed = TimedEnergy(self.base, net, self.noise, nearest=nearest)
        return timed.to(self.context.data.device)

    def _averages(self) -> list[Any]:
        nets: Any = self.average.module
        return list(nets)

    @torch.no_grad()
    def begin(self) -> TrainState:
        """Give the model the averaged networks, and carry walkers to it.

        Returns:
            The state from which maximum likelihood goes on.
        """
        context = self.context
        recipe, model = context.recipe, context.energy
        best: Any = self.best.nets
        nets = self._averages() if best is None else list(best)
        outer = model.net
        assert isinstance(outer, nn.Module)
        for own, net in zip(single_networks(outer), nets, strict=True):
            own.load_state_dict(net.frozen(1.0).state_dict())
        path, rng = EnergyPath(self._timed(Averaged(nets))), context.rng
        carry = Chain((EulerMaruyama(1.0, path.base.factor), context.kernel))
        schedule = adapt_steps(path, Schedule.uniform(STEPS, carry), rng)
        train, held = recipe.train, None
        walkers, _ = population(path, train.walkers, schedule, rng=rng, islands=1)
        if train.held_out:
            held, _ = population(path, train.held_out, schedule, rng=rng)
            held = held.reweight(model)
        last = schedule.kernels[-1]
        assert isinstance(last, Chain)
        trust = None if train.tau is None else TrustRegion(train.tau, longest=train.longest)
        assert self.record is not None
        done = self.record.iteration
        return TrainState(done, walkers.reweight(model), held, last.kernels[-1], trust)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, averages, optimiser and number of iterations, for a checkpoint."""
        return {
            "iteration": self.record.iteration if self.record else 0,
            "nets": self.nets.state_dict(),
            "average": self.average.state_dict(),
            "best": self.best.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Set the state from a dictionary that `state_dict` returned."""
        saved = moved(saved, self.context.data.device)
        self.nets.load_state_dict(saved["nets"])
        self.average.load_state_dict(saved["average"])
        self.best.load_state_dict(saved["best"], self.average.module)
        self.optimizer.load_state_dict(saved["optimizer"])
        done = saved["iteration"]
        self.record = ScoreMatchingRecord(done, 0.0, math.nan, math.nan) if done else None
