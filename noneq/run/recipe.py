"""The settings of a training: model, way of training, optimiser, estimate of log Z, budget.

A `Recipe` holds all of them. `noneq.run.choose` makes it from defaults for the data and the kind
of model, whose reasons are in docs/lab/defaults.md. The command line shows every setting as an
option with its description, so this file imports nothing heavy. None switches a setting off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeAlias

from noneq.training.settings import Settings

__all__ = [
    "Bracket", "Budget", "InterpolantModel", "Likelihood", "NetworkModel", "Optimizer", "RBMModel",
    "Recipe", "ScoreMatching",
]  # fmt: skip


def _positive(section: object, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        if value is not None and not value >= 1:
            raise ValueError(f"{name} must be 1 or more, got {value}")


def _finite(section: object, *names: str) -> None:
    for name in names:
        if not 0 < getattr(section, name) < math.inf:
            raise ValueError(f"{name} is a finite number > 0, got {getattr(section, name)}")


def _fraction(section: object, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(section, name) <= 1:
            raise ValueError(f"{name} is a fraction in [0, 1], got {getattr(section, name)}")


def _least(section: object, *names: str) -> None:
    for name in names:
        if not getattr(section, name) >= 0:
            raise ValueError(f"{name} must be 0 or more, got {getattr(section, name)}")


# -- models


@dataclass(frozen=True)
class NetworkModel:
    """Settings of an energy that is the sum of the energy of a Gaussian base and a network.

    Attributes:
        base: covariance of the Gaussian base: full, diagonal or low-rank.
        clusters: number of Gaussian clusters of the data whose pooled covariance preconditions
            the MCMC moves; None: the covariance of the base does.
        net: kind of the energy network: mlp, convnet or resnet.
        width: number of hidden units of each layer of a perceptron, or of channels after the first
            layer of a convolutional network.
        depth: number of hidden layers of a perceptron, or of halvings of the resolution in a
            convolutional network.
        leapfrog_steps: leapfrog steps of a move: 1 is MALA, more are Hamiltonian Monte Carlo.
        step_size: step size of the first MCMC move; it is then adapted to a target acceptance.
    """

    base: Literal["full", "diagonal", "low-rank"] = "full"
    clusters: int | None = None
    net: Literal["mlp", "convnet", "resnet"] = "mlp"
    width: int = 256
    depth: int = 2
    leapfrog_steps: int = 1
    step_size: float = 0.3

    def __post_init__(self) -> None:
        _positive(self, "clusters", "width", "depth", "leapfrog_steps")
        _finite(self, "step_size")


@dataclass(frozen=True)
class RBMModel:
    """Settings of a restricted Boltzmann machine (RBM), of binary or of real visible units.

    Attributes:
        hidden: number of hidden units of the RBM.
    """

    hidden: int = 500

    def __post_init__(self) -> None:
        _positive(self, "hidden")


@dataclass(frozen=True)
class InterpolantModel:
    """Settings of an energy U(x, t) for times t between a Gaussian and the data (score matching).

    Attributes:
        base: covariance of the Gaussian base: full, diagonal or low-rank.
        clusters: number of Gaussian clusters of the data whose pooled covariance preconditions
            the MCMC moves; None: the covariance of the base does.
        width: number of hidden units of each layer of the energy network.
        depth: number of hidden layers of the energy network.
        leapfrog_steps: leapfrog steps of a move that corrects samples: 1 is MALA, more are
            Hamiltonian Monte Carlo.
        step_size: step size of the first move that corrects samples; it is then adapted to a
            target acceptance.
        steps: number of Euler-Maruyama steps from the base to a sample.
        eps: diffusivity of the Euler-Maruyama steps: a larger one mixes more and lowers the
            effective sample size.
        corrections: number of MCMC moves after each Euler-Maruyama step, under the energy at the
            time that the step has reached.
    """

    base: Literal["full", "diagonal", "low-rank"] = "full"
    clusters: int | None = None
    width: int = 256
    depth: int = 2
    leapfrog_steps: int = 1
    step_size: float = 0.3
    steps: int = 100
    eps: float = 1.0
    corrections: int = 4

    def __post_init__(self) -> None:
        _positive(self, "clusters", "width", "depth", "leapfrog_steps", "steps")
        _finite(self, "step_size", "eps")
        _least(self, "corrections")


# -- how they train


@dataclass(frozen=True)
class Likelihood(Settings):
    """Settings of weighted maximum likelihood: those of `noneq.Settings`, and a schedule of tau.

    Attributes:
        tau_end: fraction of its first value to which tau, the size of the trust region, falls
            linearly until the budget is spent.
    """

    tau_end: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        _fraction(self, "tau_end")
        _finite(self, "longest")
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

    def __post_init__(self) -> None:
        _positive(self, "batch")
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
        _least(self, "lr", "weight_decay")
        _fraction(self, "ema")


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
            raise ValueError(f"walkers must be a multiple of 16, 32 or more, got {self.walkers}")
        _positive(self, "temperatures")
        _least(self, "equilibrate")


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
        _positive(self, "iterations", "threads")
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
        kind: kind of model: "network", "rbm", "gaussian-rbm" or "interpolant".
        model: settings of the model: a `NetworkModel`, `RBMModel` or `InterpolantModel`.
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
