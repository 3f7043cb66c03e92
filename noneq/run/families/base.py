"""What a kind of model is to a run: its defaults, how it is built, trained, stored and sampled.

A new kind is a subclass of `Family` that is put into `noneq.run.families.FAMILIES`; nothing else
asks which kind a model is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    """What defaults are chosen by: the shape and kind of the data, and nothing else."""

    shape: Sequence[int]
    """of one row; images are (channels, height, width)"""
    rows: int
    """to train on"""
    kind: Literal["image", "table"]
    discrete: bool
    """whether values repeat, or columns are constant: no density without noise"""


class Size(NamedTuple):
    """What a model takes of memory, in numbers."""

    choice: str
    """the field that decides it"""
    parameters: int
    activations: int
    """that are computed on the way, for one row"""


def base_of(energy: nn.Module) -> Solvable:
    """The solvable energy that a model starts from."""
    base = energy.base
    assert isinstance(base, Solvable)
    return base


class Family(ABC):
    """One kind of model."""

    kind: ClassVar[str]
    """its name, as a recipe has it"""
    model: ClassVar[type]
    """the dataclass of its own choices"""
    train: ClassVar[type] = Likelihood
    """the dataclass of how it trains"""
    not_applicable: ClassVar[frozenset[str]] = frozenset()
    """choices of the other sections that say nothing to it, as ``section.field``"""
    binary: ClassVar[bool] = False
    """whether its rows are made of zeros and ones"""
    origin: ClassVar[str] = "Gaussian base"
    """what the model starts from, in the words of a verdict"""
    regularisers: ClassVar[str] = "more noise (`noise`)"
    """what helps besides where training rows are memorised"""
    carried: ClassVar[bool] = False
    """whether samples can be carried from the base by steps (`transport`)"""
    chains: ClassVar[bool] = True
    """whether walkers of the training are there to be carried on"""
    calmer: ClassVar[str] = "half the `tau` or more `moves`"
    """what to try where its likelihood cannot be bracketed"""

    # -- before training

    @abstractmethod
    def defaults(self, data: About) -> Recipe:
        """Every choice for such data; the reasons are in docs/lab/defaults.md."""

    @abstractmethod
    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """The energy before the first update, on the rows' device, and one move of its walkers.

        Arguments:
            recipe: the choices.
            rows: (M, *shape), what a base and a preconditioner are fitted to.
            seed: of the first parameters.

        Raises ValueError for rows that such a model cannot have.
        """

    @abstractmethod
    def size(self, recipe: Recipe, shape: Sequence[int]) -> Size:
        """What the model takes of memory."""

    def learner(self, context: TrainingContext) -> Learner:
        """How it learns; weighted maximum likelihood unless it knows better."""
        return LikelihoodLearner(context)

    def parameter_groups(self, energy: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """The parameters as an optimiser takes them."""
        return [{"params": list(energy.parameters()), "weight_decay": weight_decay}]

    def optimizer(self, energy: nn.Module, choices: Optimizer) -> torch.optim.Optimizer:
        """AdamW; another one if it can be scaled by a trust region."""
        groups = self.parameter_groups(energy, choices.weight_decay)
        return torch.optim.AdamW(groups, lr=choices.lr)

    def notes(self, recipe: Recipe) -> str:  # noqa: ARG002
        """What a user should know before training begins, or nothing."""
        return ""

    def after_divergence(self, recipe: Recipe) -> str:
        """What to try after a run has diverged, in names of fields."""
        if recipe.train.tau is None:  # plain steps, of the learning rate's length
            return "a trust region (`tau` 0.1) or a smaller learning rate (`lr`)"
        return "more moves (`moves`), more noise (`noise`) or a smaller model"

    # -- to a file and back

    @abstractmethod
    def empty(
        self, recipe: Recipe, shape: Sequence[int], tensors: Mapping[str, Tensor]
    ) -> nn.Module:
        """A model of the right kind and sizes, to be filled with the ``tensors`` of a file."""

    @abstractmethod
    def kernel(self, recipe: Recipe, factor: Factor) -> Kernel:
        """One move of its walkers, with a root of the preconditioner."""

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
        """The annealing of log Z and of samples, as `noneq.log_z` takes it.

        Arguments:
            recipe: whether steps are cycled, and how many temperatures.
            energy: the model.
            kernel: one move.
            rng: of the pilot run.
            temperatures: default: the recipe's.
            track: shows the pilot's progress.
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
        """Steps that carry walkers from the base to samples, where ``carried``."""
        raise NotImplementedError

    def shown(self, rows: Tensor) -> Tensor:
        """Images of rows, from -1 to 1."""
        return rows

    def filters(self, energy: nn.Module) -> Tensor | None:  # noqa: ARG002
        """Weights (visible, hidden) to be drawn as images or bars, if it has such."""
        return None


def with_choices(recipe: Recipe, **sections: Mapping[str, Any]) -> Recipe:
    """The recipe with other choices, by section."""
    changed = {name: replace(getattr(recipe, name), **new) for name, new in sections.items()}
    return replace(recipe, **changed)
