"""The settings of a training: model, way of training, optimiser, estimate of log Z, budget.

A `Recipe` holds all of them. `noneq.run.choose` makes it from defaults for the data and the kind
of model, whose reasons are in docs/lab/defaults.md. The command line shows every setting as an
option with its description, so this file imports nothing heavy. None switches a setting off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, TypeAlias

from noneq.run.model_settings import (
    ConditionalModel,
    InterpolantModel,
    NetworkModel,
    RBMModel,
)
from noneq.run.ranges import check_finite, check_fraction, check_least, check_positive
from noneq.training.settings import Settings

__all__ = [
    "Bracket", "Budget", "ConditionalModel", "InterpolantModel", "Likelihood", "NetworkModel",
    "Optimizer", "RBMModel", "Recipe", "ScoreMatching",
]  # fmt: skip


@dataclass(frozen=True)
class Likelihood(Settings):
    """Settings of weighted maximum likelihood: those of `noneq.Settings`, and a schedule of tau.

    Attributes:
        tau_end: fraction of its first value to which tau, the size of the trust region, falls
            linearly until the budget is spent.
        score_matching: number of iterations of denoising score matching, which the networks learn
            from before maximum likelihood begins, at most 3/4 of all iterations or 0.4 of the
            time; None: none.
        early_stopping: whether the validation rows choose which parameters are kept and when
            training ends; the budget is then the longest training.
    """

    tau_end: float = 0.05
    score_matching: int | None = None
    early_stopping: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self, "tau_end")
        check_positive(self, "score_matching")
        check_finite(self, "longest")
        if self.weighted and self.forgetting_factor < 1 and not self.held_out:
            raise ValueError(
                f"`forgetting_factor` {self.forgetting_factor:g} leaves log Z, which detects "
                "divergence, to held-out walkers: take `held_out` 8 or more, or "
                "`forgetting_factor` 1"
            )

    def speed(self, progress: float) -> float:
        """Return the factor of tau, the size of the trust region, at some time of the training.

        It falls linearly from 1 at ``progress`` 0, the start, to ``tau_end`` at 1, the end.
        """
        return max(self.tau_end, 1 - (1 - self.tau_end) * progress)


@dataclass(frozen=True)
class ScoreMatching:
    """Settings of denoising score matching, which learns the density of rows with noise added.

    Attributes:
        batch: number of data rows in the batch of an iteration.
        noise: standard deviation of the Gaussian noise added to the data, in the units of
            training.
    """

    batch: int = 512
    noise: float = 0.05
    early_stopping: ClassVar[bool] = False  # an energy at all times has no cheap log Z

    def __post_init__(self) -> None:
        check_positive(self, "batch")
        if not 0 < self.noise < math.inf:
            raise ValueError(
                f"`noise` {self.noise:g}: score matching learns the density of rows with noise "
                "added: give an interpolant more than 0"
            )


@dataclass(frozen=True)
class Optimizer:
    """Settings of AdamW, and of the moving average of the parameters, which is the final model.

    Attributes:
        lr: learning rate of AdamW; it hardly matters under a trust region, and falls to 0 along a
            cosine in score matching.
        weight_decay: coefficient of the decoupled weight decay of AdamW.
        ema: decay of the exponential moving average of the parameters, from 0 to 1.
    """

    lr: float = 3e-3
    weight_decay: float = 0.5
    ema: float = 0.99

    def __post_init__(self) -> None:
        check_least(self, "lr", "weight_decay")
        check_fraction(self, "ema")


@dataclass(frozen=True)
class Bracket:
    """Settings of the bracket: the estimates of log Z by forward and by backward annealing.

    Attributes:
        walkers: number of walkers (weighted samples) of the forward and of the backward annealing
            each, a multiple of 16.
        temperatures: number of temperatures of the annealing that estimates log Z.
        equilibrate: number of MCMC moves under the model before backward annealing starts.
        cycled: whether to cycle the step size along the annealing, which finds sharp modes but
            spends half of the moves on short steps.
    """

    walkers: int = 1024
    temperatures: int = 1500
    equilibrate: int = 4500
    cycled: bool = True

    def __post_init__(self) -> None:
        if self.walkers < 32 or self.walkers % 16:
            raise ValueError(
                f"`bracket.walkers` is a multiple of 16, 32 or more: not {self.walkers}"
            )
        check_positive(self, "temperatures")
        check_least(self, "equilibrate")


@dataclass(frozen=True)
class Budget:
    """Settings of how long to train (the budget), and on how many threads.

    Attributes:
        seconds: training time in seconds, where no number of iterations is given.
        iterations: number of training iterations, in place of a time; the result is then
            reproducible.
        threads: number of processor threads; None: torch's default.
    """

    seconds: float = 120.0
    iterations: int | None = None
    threads: int | None = 1

    def __post_init__(self) -> None:
        check_positive(self, "iterations", "threads")
        if self.iterations is None and not self.seconds > 0:
            raise ValueError(f"the budget is a time > 0 or iterations, got {self.seconds} s")

    def progress(self, iteration: int, seconds: float) -> float:
        """Compute the fraction of the budget that is spent.

        Arguments:
            iteration: number of iterations done.
            seconds: seconds of training done.

        Returns:
            The fraction, 0 at the start and 1 at the end: of iterations if their number is set,
            otherwise of the time.
        """
        return iteration / self.iterations if self.iterations else seconds / self.seconds


Train: TypeAlias = Likelihood | ScoreMatching


@dataclass(frozen=True)
class Recipe:
    """All settings of a training in sections, each of them a dataclass.

    Attributes:
        kind: kind of model: "network", "rbm", "gaussian-rbm", "interpolant" or "conditional".
        model: settings of the model: a `NetworkModel`, `RBMModel`, `InterpolantModel` or
            `ConditionalModel`.
        train: settings of the way of training: `Likelihood` or `ScoreMatching`.
        optimizer: settings of the optimiser and of the moving average of the parameters.
        bracket: settings of the estimate of log Z, forward and backward, after training.
        budget: settings of how long to train.

    >>> from noneq.run import choose
    >>> recipe = choose((5,), 300, "table", tau=0.1, bracket={"walkers": 64})
    >>> recipe.kind, recipe.train.tau, recipe.bracket.walkers
    ('network', 0.1, 64)
    """

    kind: str = "network"
    model: Any = field(default_factory=NetworkModel)
    train: Any = field(default_factory=Likelihood)
    optimizer: Optimizer = field(default_factory=Optimizer)
    bracket: Bracket = field(default_factory=Bracket)
    budget: Budget = field(default_factory=Budget)

    def plain(self) -> dict[str, Any]:
        """Return the settings as nested dictionaries, for JSON; `read_recipe` reverses this."""
        return asdict(self)

    def sections(self) -> Mapping[str, Any]:
        """Return the sections of settings by name: ``{"model": NetworkModel(...), ...}``."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "kind"}
