"""Every choice of a run: the model, its training, the optimiser, the bracket, the budget.

A recipe is made by `noneq.run.choose`, from what the data are; each kind of model fills in its
defaults (`noneq.run.families`), whose reasons are in docs/lab/defaults.md. Nothing heavy is
imported here: the command line shows every choice as an option. Off is None everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeAlias

from noneq.training.settings import Settings

__all__ = [
    "Bracket",
    "Budget",
    "InterpolantModel",
    "Likelihood",
    "NetworkModel",
    "Optimizer",
    "RBMModel",
    "Recipe",
    "ScoreMatching",
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
    """A Gaussian base and an energy network on top of it.

    Attributes:
        base: covariance of the Gaussian that the energy starts from: full, diagonal or low-rank.
        clusters: moves are preconditioned by the pooled covariance of this many Gaussian clusters
            of the data; None: by the base's covariance.
        net: the network of the energy: mlp, convnet or resnet.
        width: hidden units of the network, or channels after its first layer.
        depth: hidden layers of the network, or halvings of the resolution.
        leapfrog_steps: gradient steps of a move: 1: MALA, more: Hamiltonian Monte Carlo.
        step_size: h of the first move; adapted to its acceptance from then on.
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
    """A restricted Boltzmann machine.

    Attributes:
        hidden: hidden units of the machine.
    """

    hidden: int = 500

    def __post_init__(self) -> None:
        _positive(self, "hidden")


@dataclass(frozen=True)
class InterpolantModel:
    """An energy of all times from a Gaussian to the data, learned by denoising score matching.

    Attributes:
        base: covariance of the Gaussian that it starts from: full, diagonal or low-rank.
        clusters: as of a network.
        width: hidden units of its network.
        depth: hidden layers of its network.
        leapfrog_steps: gradient steps of a move that corrects samples.
        step_size: h of the first of them.
        steps: steps of Euler-Maruyama from the base to a sample.
        eps: diffusivity of these steps: larger ones forget more and cost more effective sample
            size.
        corrections: moves after each of these steps, at the time that it led to.
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
    """`noneq.Settings` of a run, which has an end: tau falls towards it.

    Attributes:
        tau_end: tau falls linearly to this fraction of itself.
    """

    tau_end: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        _fraction(self, "tau_end")
        _finite(self, "longest")
        if self.weighted and self.forgetting_factor < 1 and not self.held_out:
            raise ValueError(
                f"`forgetting_factor` {self.forgetting_factor:g} leaves log Z, which tells a run "
                "that diverges, to held-out walkers: take `held_out` 8 or more, or "
                "`forgetting_factor` 1"
            )

    def speed(self, progress: float) -> float:
        """What tau is multiplied by when that much of the budget is spent."""
        return max(self.tau_end, 1 - (1 - self.tau_end) * progress)


@dataclass(frozen=True)
class ScoreMatching:
    """Denoising score matching, which learns the density of rows with noise added.

    Attributes:
        batch: data rows an iteration.
        noise: standard deviation of the Gaussian noise added to the data, in the units that they
            are trained in.
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
    """AdamW, and the moving average of the parameters that is kept as the model.

    Attributes:
        lr: learning rate; under a trust region it hardly matters. Of score matching it falls to 0
            along a cosine.
        weight_decay: weight decay of AdamW.
        ema: decay of the exponential moving average of the parameters, a fraction.
    """

    lr: float = 3e-3
    weight_decay: float = 0.5
    ema: float = 0.99

    def __post_init__(self) -> None:
        _least(self, "lr", "weight_decay")
        _fraction(self, "ema")


@dataclass(frozen=True)
class Bracket:
    """How log Z is bracketed, as `noneq.log_z` takes it.

    Attributes:
        walkers: walkers on each side of the bracket, a multiple of 16.
        temperatures: temperatures of its annealing.
        equilibrate: moves under the model before the backward side starts.
        cycled: vary the step size along the annealing, which finds sharp modes but spends half of
            the moves on short steps.
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
    """How long to train, and on how much of the machine.

    Attributes:
        seconds: training time; used unless iterations are given.
        iterations: training length instead of a time: the same bits every time.
        threads: threads of the processor; None: as many as torch takes by itself.
    """

    seconds: float = 120.0
    iterations: int | None = None
    threads: int | None = 1

    def __post_init__(self) -> None:
        _positive(self, "iterations", "threads")
        if self.iterations is None and not self.seconds > 0:
            raise ValueError(f"the budget is a time > 0 or iterations, got {self.seconds} s")

    def progress(self, iteration: int, seconds: float) -> float:
        """How much of it is spent, 1 at its end."""
        return iteration / self.iterations if self.iterations else seconds / self.seconds


Train: TypeAlias = Likelihood | ScoreMatching


@dataclass(frozen=True)
class Recipe:
    """Every choice of a run.

    Attributes:
        kind: of model, one of `noneq.run.families.FAMILIES`.
        model: its own choices, e.g. a `NetworkModel` or a `RBMModel`.
        train: how it trains: `Likelihood` or `ScoreMatching`.
        optimizer: the optimiser and the moving average.
        bracket: how log Z is bracketed at the end.
        budget: how long to train.

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
        """As a nested dictionary, for a file; `noneq.run.choosing.read_recipe` reads it."""
        return asdict(self)

    def sections(self) -> Mapping[str, Any]:
        """Its sections by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "kind"}
