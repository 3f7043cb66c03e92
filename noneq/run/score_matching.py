"""The learner of denoising score matching, by which energies at all times t are trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from noneq.models.interpolants import TimedEnergy
from noneq.run.learners import Observed, TrainingContext
from noneq.training import ScoreMatchingRecord, match
from noneq.training.rates import cosine, set_learning_rate

__all__ = ["ScoreMatchingLearner"]


class ScoreMatchingLearner:
    """Trains the model in a `TrainingContext` by score matching, `noneq.training.match`."""

    pretraining, origin = False, 0

    def __init__(self, context: TrainingContext) -> None:
        assert isinstance(context.energy, TimedEnergy)
        self.context, self.energy = context, context.energy
        self.trained: ScoreMatchingRecord | None = None

    def divergence_thresholds(self) -> dict[str, Any]:
        """Return thresholds by which divergence is detected, by name: initial loss, tolerance."""
        energy, data = self.energy, self.context.data
        rng = torch.Generator(data.device).manual_seed(0)
        size = (16, self.context.recipe.train.batch)
        which = torch.randint(len(data), size, generator=rng, device=data.device)
        losses = torch.stack([energy.score_loss(data[rows], rng).detach() for rows in which])
        tolerance = 5 * float(losses.std())
        return {"base": float(losses.mean()), "margin": 1.0 + tolerance, "kind": "loss"}

    def iterate(self) -> Iterator[ScoreMatchingRecord]:
        """Yield the records of `noneq.training.match`, and keep the latest one as the state."""
        context = self.context
        for record in match(
            self.energy,
            context.data,
            batch=context.recipe.train.batch,
            optimizer=context.optimizer,
            rng=context.rng,
            done=self.trained.iteration if self.trained else 0,
        ):
            self.trained = record
            yield record

    def set_rate(self, progress: float, backoff: float) -> None:
        """Set the learning rate to ``backoff lr (1 + cos(pi progress)) / 2``, lr a setting.

        ``progress`` is the fraction of the training done; each rollback halves ``backoff``.
        """
        rate = self.context.recipe.optimizer.lr * cosine(progress)
        set_learning_rate(self.context.optimizer, rate * backoff)

    def monitored_metric(self, record: Observed) -> tuple[float, bool]:
        """Return an iteration's loss, and False: score matching does not estimate log Z."""
        return record.loss, False

    def metrics(self, record: Observed) -> dict[str, Any]:
        """Return ``{"rate": learning rate}``, for the file metrics.jsonl of a run."""
        assert isinstance(record, ScoreMatchingRecord)
        return {"rate": record.rate}

    def progress_line(self, record: Observed, volume: float = 0.0) -> str:  # noqa: ARG002
        """Return the loss and the learning rate as a line of text."""
        assert isinstance(record, ScoreMatchingRecord)
        return f"iteration {record.iteration}, loss {record.loss:.3f}, rate {record.rate:.1e}"

    def state_dict(self) -> dict[str, Any] | None:
        """Return ``{"iteration": number of iterations done}``; None before training."""
        return {"iteration": self.trained.iteration} if self.trained else None

    def load_state_dict(self, saved: Mapping[str, Any] | None) -> None:
        """Set the number of iterations done, which is all that `state_dict` saves."""
        self.trained = None
        if saved is not None:
            self.trained = ScoreMatchingRecord(saved["iteration"], 0.0, math.nan, math.nan)
