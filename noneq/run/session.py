"""The class `Session`: one training in memory, which can be saved and resumed.

    for record in Session(recipe, data.train): ...

The recipe holds all settings. The learner of a session (`noneq.run.learners`) does the iterations
by `noneq.train` or by score matching. The session adds schedules of the step size, the moving
average of the parameters, the end of the training, and the detection of divergence. From the
``state_dict`` of a session training continues with the same bits, given the same recipe, data and
number of threads.
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
from noneq.run.shifts import with_shifts
from noneq.run.validation import Validation
from noneq.training import ScoreMatchingRecord, TrainState, moving_average

__all__ = ["Session"]


class Session:
    """One training in memory: iterating does the iterations and yields a record of each.

    Iteration ends when the recipe's budget, a time or a number of iterations, is spent.

    Arguments:
        recipe: all settings of the training, as `noneq.run.choose` makes them.
        data: M rows to train on (M, *shape), where ``shape`` is the shape of one row.
        seed: seed of the network's first parameters and of all other randomness.
        family: object that builds the model and its learner; default: that of ``recipe.kind``.
        validation: validation rows, for early stopping where the recipe has it; None: none.

    Attributes:
        energy: model that is being trained.
        average: copy of the model whose parameters are moving averages over the iterations.
        kernel: MCMC kernel that samples the model, with the step size before it is adapted.
        learner: object that does the iterations, by maximum likelihood or score matching, a
            `noneq.run.learners.Learner`.
        seconds: seconds of training so far, including those before an interruption.
        clock: function without arguments that returns the time in seconds; default:
            ``time.perf_counter``. It may be replaced before iterating.
        ended: whether training has ended before its budget was spent, since it diverged again and
            again.
        backoff: factor of the trust region's size tau: 1 at first, halved by each rollback after a
            divergence. Without a trust region it lowers the learning rate.

    >>> import noneq, torch
    >>> rows = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    >>> recipe = noneq.run.choose((2,), len(rows), "table", walkers=64, iterations=3)
    >>> session = noneq.Session(recipe, rows)
    >>> [record.iteration for record in session]
    [1, 2, 3]
    >>> session.average(rows).shape
    torch.Size([300])
    """

    clock = staticmethod(time.perf_counter)

    def __init__(
        self,
        recipe: Recipe,
        data: Tensor,
        seed: int = 0,
        *,
        family: Family | None = None,
        validation: Tensor | None = None,
    ) -> None:
        self.recipe = recipe
        self.data = data = with_shifts(data, getattr(recipe.model, "shifted", 0.0))
        self.family = family or family_of(recipe.kind)
        self.energy, self.kernel = self.family.build(recipe, data, seed)
        self._average = moving_average(self.energy, recipe.optimizer.ema)
        self.optimizer = self.family.optimizer(self.energy, recipe.optimizer)
        self.rng = torch.Generator(data.device).manual_seed(seed)
        self.seconds = 0.0
        self.backoff = 1.0
        self.ended = False
        stopped = validation is not None and recipe.train.early_stopping
        held = validation if stopped else None
        self.learner = self.family.learner(
            TrainingContext(recipe, self.energy, data, self.kernel, self.optimizer, self.rng, held)
        )
        self.validation: Validation | None = None
        if held is not None:
            self.validation = Validation.start(recipe, self.average, held, seed)
        self.monitor = DivergenceMonitor(**self.learner.divergence_thresholds())

    @property
    def average(self) -> nn.Module:
        """Return the trained model: a copy of the energy with averaged parameters.

        They are exponential moving averages over the iterations.
        """
        model: nn.Module = self._average.module
        return model

    @property
    def model(self) -> nn.Module:
        """Return the model to keep: with early stopping the best averaged one, else `average`."""
        looks = [] if self.validation is None else self.validation.looks
        if self.validation is None or len(looks) == 1:  # nothing but the base was looked at
            return self.average
        return self.validation.model

    @property
    def iteration(self) -> int:
        """Return the number of iterations done so far."""
        return self.trained.iteration if self.trained else 0

    @property
    def progress(self) -> float:
        """Return the fraction of the budget (time or iterations) that is spent; 1 at the end."""
        if self.ended or (self.validation is not None and self.validation.finished):
            return 1.0
        return self.recipe.budget.progress(self.iteration, self.seconds)

    @property
    def trained(self) -> TrainState | ScoreMatchingRecord | None:
        """Return the state after the last iteration; None before the first one.

        It is a `noneq.training.TrainState`, with the walkers, i.e. the weighted samples of the
        model, or a `noneq.training.ScoreMatchingRecord`.
        """
        trained: TrainState | ScoreMatchingRecord | None = self.learner.trained
        return trained

    @trained.setter
    def trained(self, state: TrainState | ScoreMatchingRecord | None) -> None:
        self.learner.trained = state

    def __iter__(self) -> Iterator[Observed]:
        """Train until the budget is spent.

        Yields:
            The record of each iteration, from `noneq.train` or score matching.

        Raises:
            FloatingPointError: the training has diverged, or the energy is not finite.
        """
        if self.progress >= 1:
            return
        before = self.seconds
        start = self.clock()
        records = self.learner.iterate()
        while self.progress < 1:
            self.learner.set_rate(self.progress, self.backoff)
            record = next(records)
            if not self.learner.pretraining:
                self._average.update_parameters(self.energy)
            now = self.clock() - start
            self.seconds = before + now
            value, anew = self.learner.monitored_metric(record)
            self.monitor.see(value, renewed=anew)
            if self._validate(record):
                self.seconds = before + self.clock() - start
            yield record

    @property
    def looked(self) -> bool:
        """Return whether the validation rows were looked at after the last iteration."""
        return (
            self.validation is not None and self.validation.looks[-1].iteration == self.iteration
        )

    def validation_metrics(self) -> dict[str, float]:
        """Return the numbers of a look after the last iteration, by name, or nothing.

        They are ``validation_nll`` and the standard error of its log Z, in nats, and the factor of
        the network's energy at which the NLL is lowest.
        """
        if not self.looked or self.validation is None:
            return {}
        last = self.validation.looks[-1]
        return {
            "validation_nll": last.nll,
            "validation_log_z_stderr": last.stderr,
            "validation_factor": last.factor,
        }

    def progress_line(self, record: Observed, volumes: tuple[float, float] = (0.0, 0.0)) -> str:
        """Return a line of text with the main metrics of an iteration, for a terminal.

        The mean `noneq.data.Scaling.log_volume` of training and of validation rows is subtracted
        from NLLs, so that they are those of standardised rows.
        """
        own = self.learner.progress_line(record, volumes[0])
        if self.validation is None:
            return own
        return f"{own}, {self.validation.progress_line(volumes[1])}"

    def _validate(self, record: Observed) -> bool:
        """Look at the validation rows where that is due, and after the last iteration."""
        if self.validation is None or self.learner.pretraining:
            return False
        self.validation.origin = self.learner.origin
        last = self.recipe.budget.progress(record.iteration, self.seconds) >= 1
        if not last and not self.validation.due(record.iteration):
            return False
        state = self.learner.trained
        self.validation.look(self.average, state.kernel, state.walkers, record.iteration)
        return True

    def state_dict(self) -> dict[str, Any]:
        """Collect everything that training changes, so that it can continue with the same bits.

        Returns:
            A nested dictionary of tensors and numbers, for `load_state_dict`.
        """
        return {
            "seconds": self.seconds,
            "backoff": self.backoff,
            "ended": self.ended,
            "monitor": dict(vars(self.monitor)),
            "energy": self.energy.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "trained": self.learner.state_dict(),
            "validation": self.validation and self.validation.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Set parameters, optimiser, random numbers and weighted samples, to continue a training.

        The data and the settings (the recipe), with the budget, stay those of this session.

        Arguments:
            saved: dictionary that `state_dict` of a session with the same kind and size of model
                returned.

        Raises:
            ValueError: the saved training had random numbers of another kind of device, or early
                stopping, for which this session lacks the rows.
        """
        self._set_random_state(saved["rng"])
        self.seconds, self.backoff = saved["seconds"], saved["backoff"]
        self.ended = saved["ended"]
        self.monitor = DivergenceMonitor(**saved["monitor"])
        self.energy.load_state_dict(saved["energy"])
        self._average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.learner.load_state_dict(saved["trained"])
        looked = saved["validation"]
        if looked is not None and self.validation is None:
            raise ValueError(
                "this training was begun with early stopping: give the session its rows again "
                "(`validation`)"
            )
        if looked is not None and self.validation is not None:
            self.validation.load_state_dict(looked)

    def _set_random_state(self, state: Tensor) -> None:
        """Go on with saved random numbers; ValueError if those of this device differ in kind."""
        try:
            self.rng.set_state(state)
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"the saved training has random numbers of another kind of device than "
                f"{self.rng.device}, where this session trains: go on where it was begun"
            ) from error
