"""The interface of a kind of model: its defaults, and how it is built, trained and sampled.

A new kind is a subclass of `Family` that is added to `noneq.run.families.FAMILIES`; no other code
depends on the kind of a model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from noneq.annealing import Schedule, Track, pilot, untracked
from noneq.energies import Factor, Solvable, path_to
from noneq.kernels import Kernel
from noneq.models.parameters import parameter_groups
from noneq.run.learners import Learner, LikelihoodLearner, TrainingContext
from noneq.run.recipe import Likelihood, Optimizer, Recipe
from noneq.training.settings import TAU

__all__ = ["About", "Family", "Size", "base_of"]


class About(NamedTuple):
    """The properties of data from which default settings of a training are chosen."""

    shape: Sequence[int]
    """shape of one row; of images (channels, height, width)"""
    rows: int
    """number of training rows"""
    kind: Literal["image", "table"]
    """kind of the data: image or table"""
    discrete: bool
    """whether values repeat or columns are constant, so that only noisy data have a density"""


class Size(NamedTuple):
    """The size of a model: how many numbers its parameters and activations are."""

    choice: str
    """name of the setting that decides the size, e.g. width"""
    parameters: int
    """number of parameters"""
    activations: int
    """number of activations for one row"""


def base_of(energy: nn.Module) -> Solvable:
    """Return the base of a model: the energy with a known log Z that its training starts from.

    Arguments:
        energy: model with an attribute ``base``.

    Returns:
        The base, from which exact samples can be drawn.
    """
    base = energy.base
    assert isinstance(base, Solvable)
    return base


class Family(ABC):
    """A kind of model that can be trained: its default settings, building, training, sampling.

    Each kind is a subclass. In the methods' arguments, a recipe is all settings of a training.
    """

    kind: ClassVar[str]
    """name of the kind, e.g. rbm"""
    model: ClassVar[type]
    """dataclass of the settings of the model"""
    train: ClassVar[type] = Likelihood
    """dataclass of the settings of the training"""
    not_applicable: ClassVar[frozenset[str]] = frozenset()
    """settings of a recipe that have no effect on this kind, as ``section.field``"""
    binary: ClassVar[bool] = False
    """whether rows of data must consist of zeros and ones"""
    origin: ClassVar[str] = "Gaussian base"
    """name of the kind of base, for sentences about a trained model"""
    regularisers: ClassVar[str] = "more noise (`noise`)"
    """advice for a model that has memorised training rows, for sentences about it"""
    carried: ClassVar[bool] = False
    """whether samples can be carried from the base by Euler-Maruyama steps (`transport`)"""
    chains: ClassVar[bool] = True
    """whether training has walkers, which can be moved on to draw samples"""
    remedies: ClassVar[str] = "more moves (`moves`), more noise (`noise`) or a smaller model"
    """advice for a training that has diverged under a trust region, as a clause"""
    calmer: ClassVar[str] = "half the `tau` or more `moves`"
    """advice for a model whose likelihood cannot be bracketed"""

    # -- before training

    @abstractmethod
    def defaults(self, data: About) -> Recipe:
        """Return the default settings of a training for data with some properties.

        The reasons are in docs/lab/defaults.md.
        """

    @abstractmethod
    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """Build an untrained model for rows of data.

        Arguments:
            recipe: settings of the training.
            rows: rows (M, *shape), to which the base and the preconditioner are fitted.
            seed: seed of the random initial parameters.

        Returns:
            The model (an energy), on the device of the rows, and the MCMC kernel of its walkers.

        Raises:
            ValueError: this kind of model cannot be trained on such rows.
        """

    @abstractmethod
    def size(self, recipe: Recipe, shape: Sequence[int]) -> Size:
        """Return the numbers of parameters and activations of a model for rows of a shape."""

    def learner(self, context: TrainingContext) -> Learner:
        """Return the object that does the iterations; by default weighted maximum likelihood."""
        return LikelihoodLearner(context)

    def parameter_groups(self, energy: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """Return the trained parameters of a model as parameter groups of a torch optimiser."""
        return parameter_groups(energy.parameters(), weight_decay=weight_decay)

    def optimizer(self, energy: nn.Module, choices: Optimizer) -> torch.optim.Optimizer:
        """Return the optimiser of a model: AdamW, unless a subclass overrides this."""
        groups = self.parameter_groups(energy, choices.weight_decay)
        return torch.optim.AdamW(groups, lr=choices.lr)

    def notes(self, recipe: Recipe) -> str:  # noqa: ARG002
        """Return a note that a user should read before training, or an empty text."""
        return ""

    def after_divergence(self, recipe: Recipe) -> str:
        """Return advice for a training that has diverged, as a clause that names settings."""
        if recipe.train.tau is None:  # no trust region: the learning rate sets the length of steps
            return f"a trust region (`tau` {TAU:g}) or a smaller learning rate (`lr`)"
        return self.remedies

    # -- to a file and back

    @abstractmethod
    def empty(
        self, recipe: Recipe, shape: Sequence[int], tensors: Mapping[str, Tensor]
    ) -> nn.Module:
        """Return a model whose parameters have the shapes of ``tensors``, to load these into."""

    @abstractmethod
    def kernel(self, recipe: Recipe, factor: Factor) -> Kernel:
        """Return the MCMC kernel of the walkers; the preconditioner is ``factor factor^T``."""

    # -- samples and pictures

    def annealing_schedule(
        self,
        recipe: Recipe,
        energy: nn.Module,
        kernel: Kernel,
        rng: torch.Generator,
        temperatures: int | None = None,
        track: Track = untracked,
    ) -> int | Schedule:
        """Return the annealing schedule by which log Z is estimated and samples are drawn.

        Arguments:
            recipe: settings of the training; the section ``bracket`` decides the schedule.
            energy: trained model.
            kernel: MCMC kernel of the walkers.
            rng: source of randomness of a pilot run, which chooses the temperatures.
            temperatures: number of temperatures; default: that of the recipe.
            track: progress display of the pilot run.

        Returns:
            The ``temperatures`` argument of `noneq.log_z`: a schedule, or a number of steps.
        """
        steps = temperatures or recipe.bracket.temperatures
        if recipe.bracket.cycled:
            return steps
        path = path_to(energy, base_of(energy))
        return pilot(path, kernel, rng, track=track).resized(steps)

    def transport(
        self,
        recipe: Recipe,
        energy: nn.Module,
        kernel: Kernel,
        rng: torch.Generator,
        steps: int | None = None,
    ) -> Schedule:
        """Return a schedule of Euler-Maruyama steps for walkers that start at the base.

        Only kinds of models with ``carried`` have one.
        """
        raise NotImplementedError

    def shown(self, rows: Tensor) -> Tensor:
        """Convert rows to pixel values from -1, black, to 1, white, for pictures."""
        return rows

    def filters(self, energy: nn.Module) -> Tensor | None:  # noqa: ARG002
        """Return weights (visible, hidden) of a model to draw as pictures; None if it has none."""
        return None
