"""The training of an estimator's RBM: one `noneq.Session` for each call that brings rows.

A session (one training in memory) continues from the ``state_dict`` of the session before, on the
rows of the present call. The RBM differs from that of the command line: it has no offsets, normal
priors on the biases, and a base of independent units that is fitted to the rows of all calls.
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
"""The model of an estimator: an RBM with binary or with Gaussian visible units."""


@dataclass(frozen=True)
class PassSettings(Settings):
    """`noneq.Settings` for a number of passes over the rows, in whose second half tau falls.

    From one pass to the next, in the second half, tau falls as the square of the fraction of
    passes that remain, and without a trust region the learning rate falls as that fraction.

    Attributes:
        passes: number of passes over the rows.
    """

    passes: int = 1

    def speed(self, progress: float) -> float:
        """Compute the factor by which tau is multiplied.

        Arguments:
            progress: fraction of the training that is done, from 0 to 1.

        Returns:
            The factor, from 1 to 0, constant within a pass.
        """
        done = math.floor(progress * self.passes + 1e-9)  # of rounding
        return min(1.0, 2 * (1 - done / self.passes)) ** 2


class _Unmonitored(LikelihoodLearner):
    """The estimator's alarms judge its model afterwards, by rows of all calls."""

    def divergence_thresholds(self) -> dict[str, Any]:
        """Nothing is too much."""
        return {"base": math.inf, "margin": math.inf}


class _WithPriors(Family):
    """RBMs whose parameters have normal priors."""

    def __init__(self, history: History) -> None:
        self.history = history

    def learner(self, context: TrainingContext) -> _Unmonitored:
        """By weighted maximum likelihood."""
        return _Unmonitored(context)

    def optimizer(self, energy: nn.Module, choices: Optimizer) -> PriorAdam:
        """Adam under normal priors."""
        return PriorAdam(groups(energy), lr=choices.lr)

    def adapt(self, session: Session) -> None:
        """Let the base and the priors be those of all rows so far.

        Hidden biases have a prior about 0, else units that are never on, whose weights learn
        nothing, would stay so.
        """
        choices = session.recipe.optimizer
        w, b, c, *_ = session.optimizer.param_groups
        for group in session.optimizer.param_groups:
            group["lr"] = choices.lr
        w["strength"], c["strength"] = choices.weight_decay, 1 / self.history.rows
        self._adapt_base(session.energy, b, c["strength"])

    def _adapt_base(self, energy: nn.Module, biases: dict[str, Any], strength: float) -> None:
        """Standardised numbers have a standard base, and visible biases no prior."""


class _Bits(_WithPriors, BernoulliRBMFamily):
    """Visible units of 0 and 1."""

    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """A model that is nearly its base."""
        w, c = _first(recipe, rows, seed)
        return BernoulliRBM(w, self._logits(w), c), BlockGibbs()

    def _adapt_base(self, energy: nn.Module, biases: dict[str, Any], strength: float) -> None:
        """Visible biases have a prior about the base's logits.

        Without it those of columns that are never on would fall without end.
        """
        logits = self._logits(like=biases["params"][0])
        energy.base = Bernoulli(logits)
        biases["centre"], biases["strength"] = logits, strength

    def _logits(self, like: Tensor) -> Tensor:
        """Of the columns' means, half a row of ones and one of zeros added."""
        moments, n = self.history.moments, self.history.rows
        assert moments is not None
        p = torch.from_numpy((moments.mean * n + 0.5) / (n + 1))  # as of `Bernoulli.fit`
        return p.logit().to(like)


class _Numbers(_WithPriors, GaussianRBMFamily):
    """Visible units that are numbers in units of their standard deviations."""

    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """A model that is nearly its base."""
        w, c = _first(recipe, rows, seed)
        b = w.new_zeros(len(w))
        return GaussianRBM(w, b, c, b), BlockGibbs()


def _first(recipe: Recipe, rows: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The weights and hidden biases before training."""
    rng = torch.Generator(rows.device).manual_seed(seed)
    size = (rows.shape[1], recipe.model.hidden)
    w = 0.05 * torch.randn(size, generator=rng, device=rows.device)
    return w, w.new_zeros(recipe.model.hidden)


class Progress(NamedTuple):
    """A report on the training after one pass over the rows."""

    record: Record
    """record of the last iteration of the pass, with its loss and walkers"""
    seconds: float
    """seconds of training so far"""


class Training:
    """Trains the RBM of an estimator, and continues the training when later calls bring more rows.

    Each call trains in a `noneq.Session`, which starts from the state of the session before.

    Arguments:
        visible: kind of the visible units, "bernoulli" or "gaussian".
        hidden: number of hidden units.
        history: summary of the rows of all calls.
        seeds: seed of the sessions, and seed of ``rng``.
        device: torch device of the tensors.

    Attributes:
        rng: source of randomness of the passes over rows.
        recipe: settings of the last session; None before the first session.
        model: RBM with the moving average of the parameters, whose base is fitted to all rows so
            far.
        walkers: walkers at the end of the last session.
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
        """The number of iterations that all calls together have done."""
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
