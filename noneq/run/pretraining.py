"""Score matching before maximum likelihood: networks learn fast from scores, then are corrected.

Denoising score matching (Vincent 2011) learns an energy U(x, t) at all times t of a path from the
base to the data without any sampling, but not how much mass modes far from each other have.
`PretrainedLearner` begins with it: each network learns on its own, and the model is the base
tilted by the average of the networks at the time of the data. Walkers (weighted samples) are
carried along the path, so that they start maximum likelihood as samples of this model with known
log Z.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noneq.annealing import Schedule, adapt_steps, population
from noneq.energies import Gaussian
from noneq.kernels import Chain, EulerMaruyama
from noneq.models import Averaged, TimedMLP
from noneq.models.interpolants import EnergyPath, TimedEnergy
from noneq.random import seeded
from noneq.run.checkpoint import moved
from noneq.run.learners import LikelihoodLearner, Observed, TrainingContext
from noneq.run.recipe import Recipe
from noneq.training import (
    ScoreMatchingRecord,
    TrainState,
    TrustRegion,
    match,
    moving_average,
)
from noneq.training.rates import cosine, set_learning_rate

__all__ = ["PretrainedLearner", "ScoreMatchingStage", "iterations_of_scores", "noise_of_scores"]

RATE, DECAY, EMA, BATCH = 2e-3, 0.3, 0.999, 512  # of the optimiser and average of this stage
GAIN = 3.0  # of the first layer, as in `noneq.models.MLP`
ITERATIONS, TIME = 0.75, 0.4  # of the budget that score matching may take
STEPS = 100  # Euler-Maruyama steps by which walkers are carried to the model
LEAST, MOST, RELATIVE = 1e-3, 0.05, 0.5  # noise where training adds none


def noise_of_scores(base: Gaussian, noise: float) -> float:
    """Choose the standard deviation of the noise of score matching.

    Score matching learns the density of rows with noise. Where training adds none, this is half
    the smallest standard deviation of the base in any direction, but from 0.001 to 0.05.

    Arguments:
        base: Gaussian base of the model.
        noise: standard deviation of the noise that training adds to the rows.

    Returns:
        The standard deviation, > 0.
    """
    if noise > 0:
        return noise
    least = float(torch.linalg.eigvalsh(base.covariance().double())[0].clamp(min=0).sqrt())
    return min(max(RELATIVE * least, LEAST), MOST)


def iterations_of_scores(recipe: Recipe) -> int:
    """Compute the number of iterations of score matching with which a training begins.

    Arguments:
        recipe: all settings of the training.

    Returns:
        The number, at most three quarters of all iterations; 0: there is no score matching.
    """
    most, budget = recipe.train.score_matching or 0, recipe.budget.iterations
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


class ScoreMatchingStage:
    """The networks of a model while they learn by denoising score matching, and their average.

    Arguments:
        context: model, data, settings and random numbers of the training.

    Attributes:
        nets: networks f_j(x, t) that are trained.
        average: their parameters' moving averages over the iterations.
        record: record of the last iteration; None before the first one.
        progress: fraction of this stage that is done, 1 at its end.
    """

    def __init__(self, context: TrainingContext) -> None:
        recipe, base = context.recipe, context.energy.base
        assert isinstance(base, Gaussian)
        own, shape = recipe.model, context.data.shape[1:]
        with seeded(context.rng.initial_seed()):
            nets = [TimedMLP(shape, own.width, own.depth, gain=GAIN) for _ in range(own.networks)]
        self.context, self.base = context, base
        self.nets = nn.ModuleList(nets).to(context.data.device)
        self.noise = noise_of_scores(base, recipe.train.noise)
        self.average = moving_average(self.nets, EMA)
        self.optimizer = torch.optim.AdamW(self.nets.parameters(), lr=RATE, weight_decay=DECAY)
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

    def iterate(self) -> Iterator[ScoreMatchingRecord]:
        """Yield the record of each iteration, until ``progress`` is 1."""
        context = self.context
        energy = _Separately([TimedEnergy(self.base, net, self.noise) for net in self.nets])
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
            yield self.record

    @torch.no_grad()
    def begin(self) -> TrainState:
        """Give the model the averaged networks, and carry walkers to it.

        Returns:
            The state from which maximum likelihood goes on.
        """
        context = self.context
        recipe, model = context.recipe, context.energy
        nets: list[Any] = list(self.average.module)  # type: ignore[call-overload]
        frozen = [net.frozen(1.0) for net in nets]
        whole = frozen[0] if len(frozen) == 1 else Averaged(frozen)
        net = model.net
        assert isinstance(net, nn.Module)
        net.load_state_dict(whole.state_dict())
        timed = TimedEnergy(self.base, Averaged(nets), self.noise).to(context.data.device)
        path, rng = EnergyPath(timed), context.rng
        carry = Chain((EulerMaruyama(1.0, self.base.factor), context.kernel))
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
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Set the state from a dictionary that `state_dict` returned."""
        saved = moved(saved, self.context.data.device)
        self.nets.load_state_dict(saved["nets"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        done = saved["iteration"]
        self.record = ScoreMatchingRecord(done, 0.0, math.nan, math.nan) if done else None


class PretrainedLearner(LikelihoodLearner):
    """Trains a model by score matching, and then by weighted maximum likelihood.

    Arguments:
        context: model, data, settings, optimiser and random numbers of the training.

    Attributes:
        stage: the first stage, score matching; None once it has ended.
        pretraining: whether the first stage has not ended yet, so that the model is its base.
        began: progress of the training at which maximum likelihood began, from 0 to 1.
        origin: number of iterations of score matching, 0 before it has ended.
    """

    def __init__(self, context: TrainingContext) -> None:
        self.stage: ScoreMatchingStage | None = None
        super().__init__(context)
        self.began, self.origin = 0.0, 0
        self.stage = ScoreMatchingStage(context)
        self.pretraining = True

    @property
    def trained(self) -> Any:
        """The state after the last iteration: a record of score matching, or a `TrainState`."""
        return self._trained if self.stage is None else self.stage.record

    @trained.setter
    def trained(self, state: Any) -> None:
        self._trained = state

    def iterate(self) -> Iterator[Any]:
        """Yield the records of score matching, and then those of `noneq.train`."""
        if self.stage is not None:
            yield from self.stage.iterate()
            state = self.stage.begin()
            self.stage, self.trained, self.pretraining = None, state, False
            self.began, self.origin = self.pace[0], state.iteration
            self.set_rate(*self.pace)
        yield from super().iterate()

    def set_rate(self, progress: float, backoff: float) -> None:
        """Set the learning rate of score matching, or tau as `LikelihoodLearner` does."""
        self.pace = progress, backoff
        if self.stage is not None:
            self.stage.set_rate(progress, backoff)
        else:
            budget = self.context.recipe.budget.iterations
            began = self.origin / budget if budget else self.began  # it may have grown
            left = max(1e-9, 1 - began)
            super().set_rate(max(0.0, progress - began) / left, backoff)

    def monitored_metric(self, record: Observed) -> tuple[float, bool]:
        """Return an iteration's NLL in nats, NaN while scores are matched."""
        if isinstance(record, ScoreMatchingRecord):
            return math.nan, False
        return super().monitored_metric(record)

    def metrics(self, record: Observed) -> dict[str, Any]:
        """Return the metrics of an iteration by name, for the file metrics.jsonl of a run."""
        if isinstance(record, ScoreMatchingRecord):
            return {"rate": record.rate}
        return super().metrics(record)

    def progress_line(self, record: Observed) -> str:
        """Return a line of text with an iteration's main metrics."""
        if isinstance(record, ScoreMatchingRecord):
            return f"iteration {record.iteration}, score matching, loss {record.loss:.3f}"
        return super().progress_line(record)

    def state_dict(self) -> dict[str, Any] | None:
        """Return the state of the present stage by name; None before training."""
        if self.stage is not None:
            stage = self.stage.state_dict()
            return {"iteration": stage["iteration"], "stage": stage}
        own = super().state_dict()
        return None if own is None else {**own, "began": self.began, "origin": self.origin}

    def load_state_dict(self, saved: Mapping[str, Any] | None) -> None:
        """Set the state from a dictionary that `state_dict` returned."""
        stage = saved["stage"] if saved is not None and "stage" in saved else None
        self.stage = None
        super().load_state_dict(None if stage is not None else saved)
        self.began = 0.0 if saved is None else saved.get("began", 0.0)
        self.origin = 0 if saved is None else saved.get("origin", 0)
        if stage is not None or saved is None:
            self.stage = ScoreMatchingStage(self.context)
        if stage is not None and self.stage is not None:
            self.stage.load_state_dict(stage)
        self.pretraining = self.stage is not None
