"""The kind of model ``network``: a base of Gaussians tilted by a network, or by several.

Its energy is the sum of the energy of a Gaussian, or of a mixture of Gaussians, and of a network
that is trained by maximum likelihood, at first by score matching where the recipe says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from noneq.energies import Tilted
from noneq.kernels import Kernel
from noneq.models import MLP, Averaged, ConvNet, ResNet
from noneq.run.bases import BUDGET, operations
from noneq.run.families.about import About, Size
from noneq.run.families.on_gaussian import FULL, Base, OnGaussian
from noneq.run.learners import Learner, TrainingContext
from noneq.run.pretraining import PretrainedLearner, iterations_of_scores
from noneq.run.recipe import Bracket, Budget, Likelihood, NetworkModel, Optimizer, Recipe

__all__ = ["NetworkFamily"]

FEW = 1000  # rows of a table below which network and steps are small
SCORES = 3000  # iterations of score matching
ITERATIONS = 3900  # with which training ends at the latest


class NetworkFamily(OnGaussian):
    """Builds models of the kind ``network``: the energy of a base of Gaussians plus a network."""

    kind = "network"
    model = NetworkModel
    remedies = "more moves (`moves`), more noise (`noise`) or a smaller network (`width`)"

    def defaults(self, data: About) -> Recipe:
        """Return the default settings of a training.

        Arguments:
            data: shape, number and kind of the rows.

        Returns:
            A `Recipe` with all settings; the network is a perceptron, or for images of 16 x 16
            pixels or more a convolutional network.
        """
        own = self.gaussian_defaults(data)
        # of many columns only where a choice among bases of low rank can be afforded
        cost = 3 * operations("low-rank", 1, data.rows, math.prod(data.shape))
        if data.kind == "table" and (own["base"] == "full" or cost <= BUDGET):
            own["base"] = "chosen"
        train: dict[str, Any] = {
            "held_out": 128, "tau": 0.2, "batch": min(1024, data.rows), "early_stopping": True,
        }  # fmt: skip
        if data.discrete:
            train["noise"] = 0.15 if data.kind == "image" else 0.1
        if data.kind == "image":
            train["longest"] = 0.1
        few = data.kind == "table" and data.rows < FEW
        if few:  # which a larger network soon memorises
            own["width"], train["tau"] = 64, 0.05
        if data.kind == "table" or min(data.shape[1:]) < 16:
            if not few and math.prod(data.shape) <= FULL:
                train["score_matching"], train["tau"] = SCORES, 0.1
            if data.kind == "image":
                own["networks"] = 2
            return Recipe(
                self.kind,
                NetworkModel(**own),
                Likelihood(**train),
                bracket=Bracket(walkers=512, temperatures=1000, equilibrate=4500),
                budget=Budget(iterations=ITERATIONS),
            )
        own |= {"net": "convnet", "width": 8, "depth": 3, "leapfrog_steps": 4, "step_size": 0.05}
        train |= {
            "walkers": 192, "held_out": 64, "moves": 1, "tau": 0.05, "renew": None,
            "batch": min(128, data.rows), "early_stopping": False,
        }  # fmt: skip
        return Recipe(
            self.kind,
            NetworkModel(**own),
            Likelihood(**train),
            Optimizer(),
            Bracket(walkers=320, temperatures=800, equilibrate=500, cycled=False),
            Budget(seconds=540.0, threads=None),
        )

    def reconciled(self, recipe: Recipe, given: Set[str]) -> Recipe:
        """Leave score matching out where it cannot begin a training, unless the user asks for it.

        Arguments:
            recipe: all settings of a training.
            given: names of the settings that the user has given.

        Returns:
            The recipe, without score matching, and with one network, if the network is
            convolutional, the base is a mixture, or the walkers start at the data.
        """
        recipe = super().reconciled(recipe, given)
        model, how = recipe.model, recipe.train
        impossible = model.net != "mlp" or model.base == "mixture"
        unwanted = how.start == "data" or how.restart
        if how.score_matching and (impossible or unwanted) and "score_matching" not in given:
            if "networks" not in given:
                model = replace(model, networks=1)
            return replace(recipe, model=model, train=replace(how, score_matching=None))
        return recipe

    def learner(self, context: TrainingContext) -> Learner:
        """Make the object that does the training iterations.

        Arguments:
            context: model, data, settings and optimiser of the training.

        Returns:
            One of weighted maximum likelihood, which begins with score matching where the recipe
            says so.
        """
        if iterations_of_scores(context.recipe):
            return PretrainedLearner(context)
        return super().learner(context)

    def build(self, recipe: Recipe, rows: Tensor, seed: int = 0) -> tuple[nn.Module, Kernel]:
        """Build an untrained model, as `OnGaussian.build` does, and check the recipe.

        Arguments:
            recipe: all settings of the training.
            rows: rows (M, *shape), to which base and preconditioner are fitted.
            seed: seed of the networks' random initial parameters, and of the clusters.

        Returns:
            The model (an energy), on the device of the rows, and the MCMC kernel that samples it.

        Raises:
            ValueError: there are fewer rows than clusters, or score matching cannot learn such a
                model.
        """
        if recipe.train.score_matching and recipe.model.net != "mlp":
            raise ValueError(
                f"`score_matching` is for `net` mlp, got {recipe.model.net}: take "
                "`score_matching` None"
            )
        if recipe.train.score_matching and recipe.model.base == "mixture":
            raise ValueError(
                "`score_matching` starts at one Gaussian, not at `base` mixture: take "
                "`score_matching` None"
            )
        if recipe.train.score_matching and (recipe.train.start == "data" or recipe.train.restart):
            raise ValueError(
                "`score_matching` hands over walkers of its own, and none from the data (`start`, "
                "`restart`): take `score_matching` None"
            )
        return super().build(recipe, rows, seed)

    def _network(self, recipe: Recipe, shape: Sequence[int]) -> nn.Module:
        nets = [self._single(recipe, shape) for _ in range(recipe.model.networks)]
        return nets[0] if len(nets) == 1 else Averaged(nets)

    def _single(self, recipe: Recipe, shape: Sequence[int]) -> nn.Module:
        own = recipe.model
        if own.net == "mlp":
            return MLP(shape, own.width, own.depth)
        if own.net == "convnet":
            net: nn.Module = ConvNet(shape, own.width, own.depth)
        else:
            net = ResNet(shape, own.width, stages=own.depth)
        # half the time of a small convolution on a processor
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return net

    def energy(self, recipe: Recipe, base: Base, net: nn.Module) -> nn.Module:  # noqa: ARG002
        """Make the model of a base and a network.

        Arguments:
            recipe: all settings of the training, which are not used.
            base: Gaussian, or mixture of Gaussians, with energy U_base.
            net: network f.

        Returns:
            The energy ``U_base(x) + f(x)``, where f is the network, a `noneq.Tilted`.
        """
        return Tilted(base, net)

    def size(self, recipe: Recipe, shape: Sequence[int]) -> Size:
        """Estimate the numbers of parameters and activations of the network.

        Arguments:
            recipe: all settings of the training.
            shape: shape of one row of data.

        Returns:
            A `Size`, with "width" as the setting that decides these numbers.
        """
        own = recipe.model
        if own.net == "mlp":
            one = super().size(recipe, shape)
            k = own.networks
            return Size(one.choice, k * one.parameters, k * one.activations)
        convolutions = 32 if own.net == "convnet" else 36  # width^2 each, of its first stage
        return Size("width", convolutions * own.width**2, math.prod(shape[1:]) * own.width)
