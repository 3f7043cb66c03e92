"""Score matching before maximum likelihood: networks learn fast from scores, then are corrected.

Denoising score matching (Vincent 2011) learns an energy U(x, t) at all times t of a path from a
Gaussian to the data without any sampling, but not how much mass modes far from each other have.
`PretrainedLearner` begins with it: each network learns on its own, and the model is the base
tilted by the average of the networks at the time of the data. Walkers (weighted samples) are
carried along the path, so that they start maximum likelihood as samples of this model with known
log Z.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from noneq.run.learners import LikelihoodLearner, Observed, TrainingContext
from noneq.run.score_stage import ScoreMatchingStage
from noneq.training import ScoreMatchingRecord

__all__ = ["PretrainedLearner"]


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

    def progress_line(self, record: Observed, volume: float = 0.0) -> str:
        """Return a line of text with an iteration's main metrics."""
        if isinstance(record, ScoreMatchingRecord):
            return f"iteration {record.iteration}, score matching, loss {record.loss:.3f}"
        return super().progress_line(record, volume)

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
