"""The kind of model ``interpolant``: an energy at all times of a path from a Gaussian to the data.

The class here builds such models, trains them by score matching, and samples them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noneq.annealing import Schedule, adapt_steps
from noneq.energies import Gaussian, GaussianMixture, path_to
from noneq.kernels import Chain, EulerMaruyama, Kernel, Repeat
from noneq.models import TimedMLP
from noneq.models.interpolants import TimedEnergy
from noneq.run.families.about import About
from noneq.run.families.on_gaussian import OnGaussian
from noneq.run.learners import Learner, TrainingContext
from noneq.run.recipe import Bracket, InterpolantModel, Optimizer, Recipe, ScoreMatching
from noneq.run.score_matching import ScoreMatchingLearner

__all__ = ["InterpolantFamily"]


class InterpolantFamily(OnGaussian):
    """Builds models of the kind ``interpolant``, trained by denoising score matching.

    The model is an energy ``U(x, t)`` at all times t of a path from a Gaussian to the data.
    """

    kind = "interpolant"
    model = InterpolantModel
    train = ScoreMatching
    carried = True
    chains = False
    calmer = "more noise (`noise`) or weight decay (`weight_decay`)"

    def defaults(self, data: About) -> Recipe:
        """Return the default settings of a training, which always adds noise to the data.

        Arguments:
            data: shape, number and kind of the rows.

        Returns:
            A `Recipe` with all settings.
        """
        noisy = 0.15 if data.kind == "image" else 0.1
        return Recipe(
            self.kind,
            InterpolantModel(**self.gaussian_defaults(data)),
            ScoreMatching(batch=min(512, data.rows), noise=noisy if data.discrete else 0.05),
            Optimizer(lr=2e-3, weight_decay=0.5, ema=0.999),
            Bracket(walkers=1024, temperatures=500, equilibrate=500, cycled=False),
        )

    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """Build an untrained model, and the MCMC kernel that samples it.

        Arguments:
            recipe: all settings of the training.
            rows: rows (M, *shape), to which the Gaussian base is fitted.
            seed: seed of the network's random initial parameters.

        Returns:
            The model, an energy ``U(x, t)``, and the kernel.

        Raises:
            ValueError: the rows are binary: no column has more than two values.
        """
        flat = rows.flatten(1)
        least, most = flat.aminmax(dim=0)
        if len(flat) > 2 and bool(((flat == least) | (flat == most)).all()):
            raise ValueError(
                "the rows are binary, no column has more than two values: an interpolant is for "
                "numbers; take `model` rbm, or `model` network, which adds noise"
            )
        return super().build(recipe, rows, seed)

    def learner(self, context: TrainingContext) -> Learner:
        """Make the object that does the training iterations, by denoising score matching.

        Arguments:
            context: model, data, settings and optimiser of the training.

        Returns:
            A `noneq.run.score_matching.ScoreMatchingLearner`.
        """
        return ScoreMatchingLearner(context)

    def notes(self, recipe: Recipe) -> str:
        """Return a sentence for the user, which says that likelihoods are those of noisy rows.

        Arguments:
            recipe: all settings of the training, with the standard deviation of the noise.
        """
        return (
            f"score matching learns the density of rows with noise {recipe.train.noise:g} added "
            "(`noise`): likelihoods and samples are those of noisy rows"
        )

    def after_divergence(self, recipe: Recipe) -> str:  # noqa: ARG002
        """Return advice for a training that has diverged: a clause that names settings to change.

        Arguments:
            recipe: all settings of the training, which are not used.
        """
        return "a smaller learning rate (`lr`), more noise (`noise`) or larger batches (`batch`)"

    def _network(self, recipe: Recipe, shape: Sequence[int]) -> nn.Module:
        return TimedMLP(shape, recipe.model.width, recipe.model.depth)

    def energy(
        self, recipe: Recipe, base: Gaussian | GaussianMixture, net: nn.Module
    ) -> nn.Module:
        """Make the model, an energy ``U(x, t)``, of a Gaussian base and a network.

        Arguments:
            recipe: all settings of the training.
            base: Gaussian at time 0.
            net: network of x and t.

        Returns:
            The model, a `noneq.models.interpolants.TimedEnergy`.
        """
        assert isinstance(base, Gaussian)
        return TimedEnergy(base, net, recipe.train.noise)

    def transport(
        self,
        recipe: Recipe,
        energy: nn.Module,
        kernel: Kernel,
        rng: torch.Generator,
        steps: int | None = None,
    ) -> Schedule:
        """Return the schedule that carries walkers from the base to samples of the model.

        It has Euler-Maruyama steps of equal length, each followed by MCMC moves (corrections),
        whose step sizes are adapted.

        Arguments:
            recipe: all settings of the training; the section ``model`` has the diffusivity and
                the number of corrections.
            energy: trained model.
            kernel: MCMC kernel of the corrections.
            rng: source of randomness of a run that adapts the step sizes.
            steps: number of steps; default: that of the recipe.

        Returns:
            The schedule, for `noneq.population`.
        """
        steps, own = steps or recipe.model.steps, recipe.model
        assert isinstance(energy, TimedEnergy)
        carry = EulerMaruyama(own.eps, energy.base.factor)
        if not own.corrections:
            return Schedule.uniform(steps, carry)
        corrected = Chain((carry, Repeat(kernel, own.corrections)))
        return adapt_steps(path_to(energy, energy.base), Schedule.uniform(steps, corrected), rng)
