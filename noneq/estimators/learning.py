"""A machine that an estimator trains, and what goes on where it is given more rows."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from noneq.energies import Bernoulli
from noneq.estimators.adam import PriorAdam, groups, strengths
from noneq.estimators.batches import Passes
from noneq.estimators.history import History
from noneq.models import BernoulliRBM, GaussianRBM
from noneq.training import Record, Settings, TrainState, moving_average, train

__all__ = ["Learning", "Machine"]

Machine: TypeAlias = BernoulliRBM | GaussianRBM


@dataclass
class Learning:
    """A model between two calls.

    Attributes:
        model: with the independent units that all rows so far speak for as its base.
        average: the moving average of its parameters.
        optimizer: with the prior that as many rows speak for.
        rng: of batches, walkers and moves.
        history: what the calls have shown.
        state: of training, None before.
    """

    model: Machine
    average: AveragedModel
    optimizer: PriorAdam
    rng: torch.Generator
    history: History
    state: TrainState | None = None

    @classmethod
    def begin(cls, visible: str, hidden: int, history: History, rng: torch.Generator) -> Learning:
        """A model that is nearly its base; numbers are in units of their standard deviation."""
        moments = history.moments
        assert moments is not None
        w = 0.05 * torch.randn(len(moments.mean), hidden, generator=rng, device=rng.device)
        c = w.new_zeros(hidden)
        model: Machine
        if visible == "bernoulli":
            model = BernoulliRBM(w, _logits(history, w), c)
        else:
            b = w.new_zeros(len(w))
            model = GaussianRBM(w, b, c, b)
        optimizer = PriorAdam(groups(model))
        return cls(model, moving_average(model, 0.99), optimizer, rng, history)

    def renew(self, decay: float | None) -> None:
        """Let the base and the priors be those of all rows so far.

        Visible biases have theirs about the base's logits, else those of columns that are never
        on would fall without end; hidden biases about 0, else units that are never on, whose
        weights learn nothing, would stay so.
        """
        hidden = len(self.model.c)
        w, b, c, *_ = self.optimizer.param_groups
        w["strength"], c["strength"] = strengths(self.history.rows, hidden, decay)
        if isinstance(self.model, BernoulliRBM):
            logits = _logits(self.history, self.model.b)
            self.model.base = Bernoulli(logits)
            b["centre"], b["strength"] = logits, c["strength"]

    def go(self, passes: Passes, settings: Settings, rates: list[float]) -> Iterator[Record]:
        """Train: a pass for each learning rate; yields its last record."""
        records = train(
            self.model,
            passes.window,
            settings,
            optimizer=self.optimizer,
            rng=self.rng,
            resume=self.state,
        )
        for rate in rates:
            for group in self.optimizer.param_groups:
                group["initial_lr"], group["lr"] = max(rates), rate
            for batches in passes:
                for record in islice(records, batches):
                    self.average.update_parameters(self.model)
                    self.state = record.state
            yield record

    def learned(self) -> Machine:
        """The model of the averaged parameters."""
        model = copy.deepcopy(self.average.module)
        assert isinstance(model, BernoulliRBM | GaussianRBM)
        model.base = copy.deepcopy(self.model.base)
        return model


def _logits(history: History, like: Tensor) -> Tensor:
    """Of the columns' means, half a row of ones and one of zeros added, as of `Bernoulli.fit`."""
    moments, n = history.moments, history.rows
    assert moments is not None
    p = torch.from_numpy((moments.mean * n + 0.5) / (n + 1))
    return p.logit().to(like)
