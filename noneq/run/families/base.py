"""The interface of a kind of model: its defaults, and how it is built, trained and sampled.

A new kind is a subclass of `Family` that is added to `noneq.run.families.FAMILIES`; no other code
depends on the kind of a model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from noneq.annealing import Schedule, Track, pilot, untracked
from noneq.energies import Factor, Solvable, path_to
from noneq.kernels import Kernel
from noneq.models.parameters import parameter_groups
from noneq.run.families.about import About, Size
from noneq.run.learners import Learner, LikelihoodLearner, TrainingContext
from noneq.run.recipe import Likelihood, Optimizer, Recipe
from noneq.training.settings import TAU

__all__ = ["Family", "base_of"]


def base_of(energy: nn.Module) -> Solvable:
    """Return the base of a model: the energy with a known log Z that training started from.

    Arguments:
        energy: model with an attribute ``base``.

    Returns:
        The base, a `noneq.energies.Solvable`: an energy with exact samples and log Z.
    """
    base = energy.base
    assert isinstance(base, Solvable)
    return base


class Family(ABC):
    """A kind of model, e.g. RBMs: an object that builds, trains and samples models of this kind.

    Each kind is a subclass. In all methods, ``recipe`` has all settings of a training; the base of
    a model is the energy with known log Z that training starts from; and walkers are the weighted
    samples of the model from which the gradient is computed.

    Attributes:
        kind: name of the kind, e.g. "rbm".
        model: dataclass of the settings of the model.
        train: dataclass of the settings of the way of training.
        not_applicable: settings of a recipe that have no effect on this kind, each named
            ``section.field``.
        binary: whether rows of data must consist of zeros and ones.
        labelled: whether rows of data are images with their labels.
        origin: name of the kind of base, for sentences about a trained model.
        regularisers: advice for a model that has memorised training rows, as a clause.
        carried: whether samples can be carried from the base by Euler-Maruyama steps.
        chains: whether training has walkers, which can be moved on to draw samples.
        remedies: advice for a training that has diverged under a trust region, as a clause.
        calmer: advice for a model whose log Z cannot be estimated, as a clause.
    """

    kind: ClassVar[str]
    model: ClassVar[type]
    train: ClassVar[type] = Likelihood
    not_applicable: ClassVar[frozenset[str]] = frozenset()
    binary: ClassVar[bool] = False
    labelled: ClassVar[bool] = False
    origin: ClassVar[str] = "Gaussian base"
    regularisers: ClassVar[str] = "more noise (`noise`)"
    carried: ClassVar[bool] = False
    chains: ClassVar[bool] = True
    remedies: ClassVar[str] = "more moves (`moves`), more noise (`noise`) or a smaller model"
    calmer: ClassVar[str] = "half the `tau` or more `moves`"

    # -- before training

    def name_of_base(self, recipe: Recipe) -> str:  # noqa: ARG002
        """Return the name of the base of a recipe, for sentences; by default ``origin``."""
        return self.origin

    @abstractmethod
    def defaults(self, data: About) -> Recipe:
        """Return the default settings of a training; their reasons are in docs/lab/defaults.md.

        Arguments:
            data: properties of the data, on which the defaults depend.

        Returns:
            A `Recipe` with all settings.
        """

    def reconciled(self, recipe: Recipe, given: Set[str]) -> Recipe:
        """Switch off defaults that do not go with settings that the user has given.

        A time replaces the default number of iterations.

        Arguments:
            recipe: all settings of a training.
            given: names of the settings that the user has given, which stay as they are.

        Returns:
            The recipe, changed where a default was.
        """
        if "seconds" in given and "iterations" not in given:
            return replace(recipe, budget=replace(recipe.budget, iterations=None))
        return recipe

    @abstractmethod
    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """Build an untrained model for rows of data.

        Arguments:
            recipe: all settings of the training.
            rows: M rows of data (M, *shape), where ``shape`` is the shape of one row. The base
                (the energy that training starts from) and the preconditioner are fitted to them.
            seed: seed of the random initial parameters.

        Returns:
            The model (an energy), on the device of the rows, and the MCMC kernel that samples it.

        Raises:
            ValueError: this kind of model cannot be trained on such rows.
        """

    @abstractmethod
    def size(self, recipe: Recipe, shape: Sequence[int]) -> Size:
        """Return the numbers of parameters and activations of a model.

        Arguments:
            recipe: all settings of the training.
            shape: shape of one row of data.

        Returns:
            A `Size`, with the name of the setting that decides these numbers.
        """

    def learner(self, context: TrainingContext) -> Learner:
        """Make the object that does the training iterations.

        Arguments:
            context: model, data, settings, optimiser and kernel of the training.

        Returns:
            A `Learner`; unless a subclass overrides this, one of weighted maximum likelihood.
        """
        return LikelihoodLearner(context)

    def parameter_groups(self, energy: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """Return the trained parameters of a model as parameter groups of a torch optimiser."""
        return parameter_groups(energy.parameters(), weight_decay=weight_decay)

    def optimizer(self, energy: nn.Module, choices: Optimizer) -> torch.optim.Optimizer:
        """Make the optimiser of a model.

        Arguments:
            energy: model.
            choices: learning rate and weight decay.

        Returns:
            AdamW, unless a subclass overrides this.
        """
        groups = self.parameter_groups(energy, choices.weight_decay)
        return torch.optim.AdamW(groups, lr=choices.lr)

    def notes(self, recipe: Recipe) -> str:  # noqa: ARG002
        """Return a sentence that a user should read before training, or an empty text."""
        return ""

    def after_divergence(self, recipe: Recipe) -> str:
        """Return advice for a training that has diverged: a clause that names settings."""
        if recipe.train.tau is None:  # no trust region: the learning rate sets the length of steps
            return f"a trust region (`tau` {TAU:g}) or a smaller learning rate (`lr`)"
        return self.remedies

    # -- to a file and back

    @abstractmethod
    def empty(
        self, recipe: Recipe, shape: Sequence[int], tensors: Mapping[str, Tensor]
    ) -> nn.Module:
        """Build a model with arbitrary parameters, into which saved ones can be loaded.

        Arguments:
            recipe: all settings of the training.
            shape: shape of one row of data.
            tensors: saved parameters and buffers by name, which decide their shapes.

        Returns:
            The model (an energy).
        """

    @abstractmethod
    def kernel(self, recipe: Recipe, factor: Factor) -> Kernel:
        """Make the MCMC kernel that samples models of this kind.

        Arguments:
            recipe: all settings of the training.
            factor: square root C of the preconditioner ``C C^T``, a covariance matrix that scales
                the moves.

        Returns:
            The kernel.
        """

    def kernel_of(self, recipe: Recipe, factor: Factor, energy: nn.Module) -> Kernel:  # noqa: ARG002
        """Return the MCMC kernel that samples one model with its base: by default `kernel`."""
        return self.kernel(recipe, factor)

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
            recipe: all settings of the training; the section ``bracket`` decides the schedule.
            energy: trained model.
            kernel: MCMC kernel that samples the model.
            rng: source of randomness of a pilot run, which chooses the temperatures.
            temperatures: number of temperatures; default: that of the recipe.
            track: function ``(steps, label) -> steps`` that displays the progress of the run.

        Returns:
            A schedule of the pilot run; or only a number of temperatures, for which `noneq.log_z`
            chooses the schedule, if the recipe asks for cycled step sizes.
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
        """Return a schedule of Euler-Maruyama steps, which carry samples of the base to the model.

        Only kinds of models whose attribute ``carried`` is True have one.

        Arguments:
            recipe: all settings of the training.
            energy: trained model.
            kernel: MCMC kernel of the moves after each step.
            rng: source of randomness of a run that adapts step sizes.
            steps: number of steps; default: that of the recipe.

        Returns:
            The schedule, for `noneq.population`.

        Raises:
            NotImplementedError: this kind has no such steps.
        """
        raise NotImplementedError

    def shown(self, rows: Tensor) -> Tensor:
        """Convert images (M, C, H, W), ``rows``, in the model's units to pixel values.

        Returns:
            Pixel values (M, C, H, W) from -1, black, to 1, white.
        """
        return rows

    def filters(self, energy: nn.Module) -> Tensor | None:  # noqa: ARG002
        """Return the weights of a model that can be drawn as pictures.

        Arguments:
            energy: model.

        Returns:
            The weight matrix (visible units, hidden units) of an RBM; None for other models.
        """
        return None
