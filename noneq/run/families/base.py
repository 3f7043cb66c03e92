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
from noneq.run.learners import Learner, LikelihoodLearner, TrainingContext
from noneq.run.recipe import Likelihood, Optimizer, Recipe

__all__ = ["About", "Family", "Size", "base_of"]


class About(NamedTuple):
    """The properties of data from which the defaults of a recipe are chosen."""

    shape: Sequence[int]
    """shape of one row; of images (channels, height, width)"""
    rows: int
    """number of training rows"""
    kind: Literal["image", "table"]
    """kind of the data"""
    discrete: bool
    """whether values repeat or columns are constant, so that a density needs noise"""


class Size(NamedTuple):
    """The memory that a model takes, as counts of numbers."""

    choice: str
    """field of the recipe that decides the size"""
    parameters: int
    """number of parameters"""
    activations: int
    """number of activations for one row"""


def base_of(energy: nn.Module) -> Solvable:
    """Return the base of a model: the solvable energy that its training starts from.

    Returns:
        The model's attribute ``base``.
    """
    base = energy.base
    assert isinstance(base, Solvable)
    return base


class Family(ABC):
    """A kind of model that a run can train; subclasses define one each."""

    kind: ClassVar[str]
    """name of the kind, as in `Recipe`"""
    model: ClassVar[type]
    """dataclass of the choices of the model"""
    train: ClassVar[type] = Likelihood
    """dataclass of the choices of the training"""
    not_applicable: ClassVar[frozenset[str]] = frozenset()
    """choices that have no effect on this kind, as ``section.field``"""
    binary: ClassVar[bool] = False
    """whether rows consist of zeros and ones"""
    origin: ClassVar[str] = "Gaussian base"
    """name of the kind of base, for the sentences of a verdict"""
    regularisers: ClassVar[str] = "more noise (`noise`)"
    """choices that help where training rows are memorised, for the sentences of a verdict"""
    carried: ClassVar[bool] = False
    """whether samples can be carried from the base by Euler-Maruyama steps (`transport`)"""
    chains: ClassVar[bool] = True
    """whether training has walkers, which can be moved on to draw samples"""
    calmer: ClassVar[str] = "half the `tau` or more `moves`"
    """advice for a model whose likelihood cannot be bracketed"""

    # -- before training

    @abstractmethod
    def defaults(self, data: About) -> Recipe:
        """Return the default recipe for data; docs/lab/defaults.md has the reasons."""

    @abstractmethod
    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """Build the model before its first update.

        Arguments:
            recipe: every choice.
            rows: rows (M, *shape), to which the base and the preconditioner are fitted.
            seed: seed of the first parameters.

        Returns:
            The energy, on the rows' device, and one move of its walkers.

        Raises:
            ValueError: this kind of model cannot be trained on such rows.
        """

    @abstractmethod
    def size(self, recipe: Recipe, shape: Sequence[int]) -> Size:
        """Return the memory that the model takes for rows of a shape."""

    def learner(self, context: TrainingContext) -> Learner:
        """Return the learner of a session; weighted maximum likelihood by default."""
        return LikelihoodLearner(context)

    def parameter_groups(self, energy: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """Return the parameters in groups, as a torch optimiser takes them."""
        return [{"params": list(energy.parameters()), "weight_decay": weight_decay}]

    def optimizer(self, energy: nn.Module, choices: Optimizer) -> torch.optim.Optimizer:
        """AdamW; another one if it can be scaled by a trust region."""
        groups = self.parameter_groups(energy, choices.weight_decay)
        return torch.optim.AdamW(groups, lr=choices.lr)

    def notes(self, recipe: Recipe) -> str:  # noqa: ARG002
        """Return a note that a user should read before training; empty if there is none."""
        return ""

    def after_divergence(self, recipe: Recipe) -> str:
        """Return advice for a run that has diverged, as a clause that names fields of a recipe."""
        if recipe.train.tau is None:  # no trust region: the learning rate sets the length of steps
            return "a trust region (`tau` 0.1) or a smaller learning rate (`lr`)"
        return "more moves (`moves`), more noise (`noise`) or a smaller model"

    # -- to a file and back

    @abstractmethod
    def empty(
        self, recipe: Recipe, shape: Sequence[int], tensors: Mapping[str, Tensor]
    ) -> nn.Module:
        """Return a model of the right sizes, into which a file's ``tensors`` can be loaded."""

    @abstractmethod
    def kernel(self, recipe: Recipe, factor: Factor) -> Kernel:
        """Return one move of the walkers, with a root ``factor`` of the preconditioner."""

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
        """Return the annealing schedule of log Z and of samples.

        Arguments:
            recipe: every choice; its ``bracket`` has the temperatures and ``cycled``.
            energy: the model.
            kernel: one move of the walkers.
            rng: source of the randomness of a pilot run.
            temperatures: number of temperatures; default: the recipe's.
            track: display of the pilot run's progress.

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
        """Return the schedule that carries walkers from the base to samples, where ``carried``."""
        raise NotImplementedError

    def shown(self, rows: Tensor) -> Tensor:
        """Return rows as pixel values from -1, black, to 1, white."""
        return rows

    def filters(self, energy: nn.Module) -> Tensor | None:  # noqa: ARG002
        """Return weights (visible, hidden) that can be drawn as pictures, or None."""
        return None
