"""The training of an estimator's RBM, which continues with each call of ``partial_fit``.

For each call a `noneq.Session` (one training in memory) trains on the rows of the call, starting
from the ``state_dict`` of the session before. The RBM differs from that of the command line: it
has no offsets, normal priors on the biases, and a base (the energy that training starts from) of
independent units that is fitted to the rows of all calls.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn

from noneq.energies import Bernoulli
from noneq.estimators.passes import Passes
from noneq.estimators.priors import PriorAdam, groups
from noneq.estimators.streams import History
from noneq.kernels import BlockGibbs, Kernel
from noneq.models import BernoulliRBM, GaussianRBM
from noneq.run.families.base import Family, base_of
from noneq.run.families.rbm import BernoulliRBMFamily, GaussianRBMFamily
from noneq.run.learners import LikelihoodLearner, TrainingContext
from noneq.run.recipe import Optimizer, Recipe
from noneq.run.session import Session
from noneq.training import Record, Settings
from noneq.walkers import Walkers

__all__ = ["PassSettings", "Progress", "Trained", "Training"]

Trained: TypeAlias = BernoulliRBM | GaussianRBM
"""The type of an estimator's model: an RBM with binary or with Gaussian visible units."""


@dataclass(frozen=True)
class PassSettings(Settings):
    """Settings of weighted maximum likelihood, `noneq.Settings`, for a number of passes over rows.

    In the second half of the passes the steps become smaller: tau, the size of the trust region,
    is proportional to the square of the fraction of passes that remain, or, without a trust
    region, the learning rate is proportional to this fraction.

    Attributes:
        passes: number of passes over the rows, i.e. epochs.
    """

    passes: int = 1

    def speed(self, progress: float) -> float:
        """Compute the factor of tau (the trust region's size) at some time of the training.

        Arguments:
            progress: fraction of the training that is done, from 0 to 1.

        Returns:
            The factor, from 1 to 0, constant within a pass; the learning rate has its square root.
        """
        done = math.floor(progress * self.passes + 1e-9)  # of rounding
        return min(1.0, 2 * (1 - done / self.passes)) ** 2


class _Unmonitored(LikelihoodLearner):
    """Trains without a test for divergence: the estimator's alarms test the model afterwards."""

    def divergence_thresholds(self) -> dict[str, Any]:
        """Return an infinite tolerance, so that no divergence is detected."""
        return {"base": math.inf, "margin": math.inf}


class _WithPriors(Family):
    """Builds RBMs whose parameters have normal priors, and trains them."""

    def __init__(self, history: History) -> None:
        self.history = history

    def learner(self, context: TrainingContext) -> _Unmonitored:
        """Return the object that does the iterations, by weighted maximum likelihood."""
        return _Unmonitored(context)

    def optimizer(self, energy: nn.Module, choices: Optimizer) -> PriorAdam:
        """Return Adam under normal priors."""
        return PriorAdam(groups(energy), lr=choices.lr)

    def adapt(self, session: Session) -> None:
        """Fit the base and the priors to the rows of all calls so far.

        Hidden biases have a prior about 0: without it hidden units that are never 1, so that their
        weights are not trained, would stay at 0.
        """
        choices = session.recipe.optimizer
        w, b, c, *_ = session.optimizer.param_groups
        for group in session.optimizer.param_groups:
            group["lr"] = choices.lr
        w["strength"], c["strength"] = choices.weight_decay, 1 / self.history.rows
        self._adapt_base(session.energy, b, c["strength"])

    def _adapt_base(self, energy: nn.Module, biases: dict[str, Any], strength: float) -> None:
        """Change nothing: for standardised numbers the base is fixed, visible biases are free."""


class _Bits(_WithPriors, BernoulliRBMFamily):
    """Builds RBMs with visible units of 0 and 1."""

    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """Build a model with small random weights, which is nearly its base."""
        w, c = _first(recipe, rows, seed)
        return BernoulliRBM(w, self._logits(w), c), BlockGibbs()

    def _adapt_base(self, energy: nn.Module, biases: dict[str, Any], strength: float) -> None:
        """Fit the base to all rows, and centre the prior of the visible biases at its logits.

        Without this prior the biases of columns that are always 0 would fall without end.
        """
        logits = self._logits(like=biases["params"][0])
        energy.base = Bernoulli(logits)
        biases["centre"], biases["strength"] = logits, strength

    def _logits(self, like: Tensor) -> Tensor:
        """Return the logits of the columns' means, with half a row of ones and of zeros added."""
        moments, n = self.history.moments, self.history.rows
        assert moments is not None
        p = torch.from_numpy((moments.mean * n + 0.5) / (n + 1))  # as of `Bernoulli.fit`
        return p.logit().to(like)


class _Numbers(_WithPriors, GaussianRBMFamily):
    """Builds RBMs with visible units that are numbers in units of their standard deviations."""

    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """Build a model with small random weights, which is nearly its base."""
        w, c = _first(recipe, rows, seed)
        b = w.new_zeros(len(w))
        return GaussianRBM(w, b, c, b), BlockGibbs()


def _first(recipe: Recipe, rows: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Draw the weights and hidden biases before training."""
    rng = torch.Generator(rows.device).manual_seed(seed)
    size = (rows.shape[1], recipe.model.hidden)
    w = 0.05 * torch.randn(size, generator=rng, device=rows.device)
    return w, w.new_zeros(recipe.model.hidden)


class Progress(NamedTuple):
    """A report on the training after one pass over the rows.

    Attributes:
        record: record of the last iteration of the pass, with loss, metrics and walkers (the
            weighted Markov chains).
        seconds: seconds of training so far.
    """

    record: Record
    seconds: float


class Training:
    """Trains the RBM of an estimator, and continues the training when later calls bring more rows.

    Each call of ``fit`` or ``partial_fit`` trains in a `noneq.Session` (one training in memory),
    which starts from the state of the session before.

    Arguments:
        visible: kind of the visible units, "bernoulli" or "gaussian".
        hidden: number of hidden units.
        history: summary of the rows of all calls.
        seeds: seed of the sessions, and seed of ``rng``.
        device: torch device of the tensors.

    Attributes:
        rng: source of randomness of the passes over rows.
        recipe: all settings of the last session; None before the first session.
        model: RBM with the moving average of the parameters. Its ``base``, a model of independent
            units, is fitted to all rows so far.
        walkers: weighted Markov chains from which the gradient is computed, at the end of the last
            session.
        state: ``state_dict`` of the last session; None before the first session.
    """

    model: Trained
    walkers: Walkers
    recipe: Recipe | None = None
    state: dict[str, Any] | None = None

    def __init__(
        self, visible: str, hidden: int, history: History, seeds: tuple[int, int], device: str
    ) -> None:
        self.family = {"bernoulli": _Bits, "gaussian": _Numbers}[visible](history)
        self.hidden, self.history, self.seed = hidden, history, seeds[0]
        self.rng = torch.Generator(device).manual_seed(seeds[1])

    @property
    def iteration(self) -> int:
        """Return the number of iterations that all calls together have done."""
        return int(self.state["trained"]["iteration"]) if self.state else 0

    def go(self, passes: Passes, recipe: Recipe, n: int) -> Iterator[Progress]:
        """Train for n passes over rows.

        Arguments:
            passes: rows to train on, from which batches are drawn.
            recipe: settings of the training, made for n passes.
            n: number of passes.

        Yields:
            A report after each pass.
        """
        session = Session(recipe, passes.window, self.seed, family=self.family)
        if self.state is not None:
            session.load_state_dict(self.state)
        self.family.adapt(session)
        records = iter(session)
        for _ in range(n):
            for batches in passes:
                (last,) = deque(islice(records, batches), maxlen=1)
            assert isinstance(last, Record)
            self.walkers = last.state.walkers
            yield Progress(last, session.seconds)
        self.recipe, self.state = recipe, session.state_dict()
        self.model = cast(Trained, copy.deepcopy(session.average))
        self.model.base = copy.deepcopy(base_of(session.energy))
